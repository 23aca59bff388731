"""
Two requests have the same key where they are for the same image, and only there.
"""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from examples.images.api.idempotency import canonical, key_of
from examples.images.ports import ImageRequest

texts = st.text(max_size=12)
# Few characters and short texts, so that fields often meet at their boundaries.
close = st.text("01x\0:é\u0301e", max_size=4)
seeds = st.integers(0, 2**32 - 1) | st.integers(0, 11)


def requests(text: st.SearchStrategy[str]) -> st.SearchStrategy[ImageRequest]:
    return st.builds(ImageRequest, prompt=text, model=text, size=text, seed=seeds)


def meaning(request: ImageRequest) -> tuple[str, str, str, int]:
    return canonical(request.prompt), request.model, request.size, request.seed


@given(requests(close), requests(close))
def test_keys_are_equal_where_the_fields_are(one: ImageRequest, other: ImageRequest) -> None:
    """
    No boundary between fields can be moved without another key.
    """
    assert (meaning(one) == meaning(other)) == (key_of(one) == key_of(other))


@given(requests(texts), st.integers(1, 4))
def test_moving_characters_from_a_field_to_the_next_changes_the_key(request: ImageRequest, count: int) -> None:
    """
    The model's end and the size's beginning are told apart, and so are prompt, seed and model.
    """
    joined = request.model + request.size
    for cut in range(len(joined) + 1):
        moved = ImageRequest(request.prompt, joined[:cut], joined[cut:], request.seed)
        assert (moved == request) == (key_of(moved) == key_of(request))


@given(requests(texts))
def test_a_key_is_32_bytes_and_the_same_each_time(request: ImageRequest) -> None:
    """
    As the queue's column wants it, and so that a repeat finds it.
    """
    again = ImageRequest(request.prompt, request.model, request.size, request.seed)
    assert 32 == len(key_of(request))
    assert key_of(request) == key_of(again)


@given(texts)
def test_a_text_in_either_unicode_form_is_one_job(text: str) -> None:
    """
    What looks the same, composed or not, is the same; and the canonical form is its own.
    """
    apart = ImageRequest(unicodedata.normalize("NFD", text), "m", "s", 0)
    composed = ImageRequest(unicodedata.normalize("NFC", text), "m", "s", 0)
    assert key_of(composed) == key_of(apart)
    assert canonical(text) == canonical(canonical(text))


def test_the_key_never_changes() -> None:
    """
    Pinned: with another encoding, each image that was ever drawn would be drawn once more.
    """
    request = ImageRequest(prompt="a kite", model="gpt-image-1", size="1024x1024", seed=7)
    assert "2fc5e83107b20fc11ce670bf4c35ffe85c300d4a4660687e4ef0b57e78835c8a" == key_of(request).hex()
    request = ImageRequest(prompt=" café\n", model="gpt-image-1", size="1024x1024", seed=7)
    assert "9a49e709ac02919db07edf1f19ceac1c5dcd31884c14fe3077ea28f6c487cf26" == key_of(request).hex()


def test_spaces_and_case_make_another_image() -> None:
    """
    Only what nobody can see is evened out.
    """
    prompts = ["a kite", "a  kite", " a kite", "a kite\n", "A kite", "a\u00a0kite", "a kite."]
    assert len(prompts) == len({key_of(ImageRequest(prompt, "m", "s", 0)) for prompt in prompts})
