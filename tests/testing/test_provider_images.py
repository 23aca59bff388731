"""
What the provider draws, and the answers of it that only look like an image.
"""

import base64
import functools
import struct
import time
import zlib
from typing import Any

import httpx
import pytest

from hungframe.testing.provider import HostileProvider
from hungframe.testing.provider.picture import SIZE, picture

BAD_IMAGES = [
    "image-empty-url",
    "image-null-url",
    "image-broken-bytes",
    "image-truncated",
    "image-error-body",
    "image-no-data",
]
# Without this, httpx reads the system's certificates for each call: 18 ms.
get = functools.partial(httpx.get, verify=False)


def answer(provider: HostileProvider, path: str = "/images/generations", **asked: object) -> Any:
    """
    Ask, and read the body of an answer that says all is well.
    """
    response = httpx.post(provider.base_url + path, json={"prompt": "a cat", **asked}, verify=False)
    assert 200 == response.status_code
    assert "application/json" == response.headers["content-type"]
    return response.json()


def content(provider: HostileProvider, **asked: Any) -> bytes:
    return base64.b64decode(answer(provider, **asked)["data"][0]["b64_json"])


def colours(png: bytes) -> set[bytes]:
    """
    Read all pixels of a picture whose rows are not filtered.
    """
    at = png.index(b"IDAT")
    (size,) = struct.unpack(">I", png[at - 4 : at])
    raw = zlib.decompress(png[at + 4 : at + 4 + size])
    rows = [raw[y * (3 * SIZE + 1) + 1 : (y + 1) * (3 * SIZE + 1)] for y in range(SIZE)]
    return {row[x : x + 3] for row in rows for x in range(0, 3 * SIZE, 3)}


def test_a_picture_for_each_prompt_and_seed() -> None:
    """
    The same request gets the same picture, another prompt or seed another one.
    """
    with HostileProvider() as provider:
        first = content(provider)

        assert first == content(provider)
        assert first == content(provider, model="another", size="1024x1024")
        assert 4 == len(
            {first, content(provider, prompt="a dog"), content(provider, seed=1), content(provider, seed=2)}
        )


def test_images_of_one_answer_differ() -> None:
    """
    Two images of one prompt are two pictures.
    """
    with HostileProvider() as provider:
        data = answer(provider, n=2)["data"]

    assert 2 == len({image["b64_json"] for image in data})


def test_a_link_leads_to_the_picture() -> None:
    """
    What a url leads to is what base64 would have held.
    """
    with HostileProvider() as provider:
        url = answer(provider, response_format="url")["data"][0]["url"]

        assert content(provider) == get(url).content
        assert get(url).content == get(url).content


def test_pictures_can_be_seen() -> None:
    """
    A picture is full of colours, and of few bytes.
    """
    for name in ("a", "b", "\ud800", "x" * 10_000):
        assert len(colours(picture(name))) > 200
        assert len(picture(name)) < 16_000


def test_pictures_are_drawn_at_once() -> None:
    """
    Drawing does not hold up the provider: 2 ms, and a machine may be busy.
    """
    took = []
    for turn in range(5):
        began = time.perf_counter()
        picture(f"turn {turn}")
        took.append(time.perf_counter() - began)

    assert min(took) < 0.02


@pytest.mark.parametrize("mode, url", [("image-empty-url", ""), ("image-null-url", None)])
def test_url_is_missing(mode: str, url: str | None) -> None:
    """
    The url is there and leads nowhere, whatever form was asked for.
    """
    with HostileProvider(mode) as provider:
        assert [{"url": url}] == answer(provider)["data"]
        assert [{"url": url}] == answer(provider, response_format="url")["data"]


def test_broken_bytes_are_no_image() -> None:
    """
    The base64 is fine, and what it holds is no image; the same behind a url.
    """
    with HostileProvider("image-broken-bytes") as provider:
        url = answer(provider, response_format="url")["data"][0]["url"]

        assert content(provider).startswith(b"<html>")
        assert get(url).content.startswith(b"<html>")


def test_truncated_is_half_of_the_image() -> None:
    """
    The first half of the picture comes, and says nothing of the rest.
    """
    with HostileProvider() as provider:
        whole = content(provider)
        provider.play("image-truncated")
        url = answer(provider, response_format="url")["data"][0]["url"]

        assert whole[: len(whole) // 2] == content(provider) == get(url).content


def test_error_in_the_body() -> None:
    """
    The status says 200, the body that it failed.
    """
    with HostileProvider("image-error-body") as provider:
        said = answer(provider)

    assert {"error"} == set(said)
    assert {"message", "type", "param", "code"} == set(said["error"])


def test_no_data() -> None:
    """
    The list of images is there, and empty.
    """
    with HostileProvider("image-no-data") as provider:
        assert [] == answer(provider)["data"]


@pytest.mark.parametrize("mode", BAD_IMAGES)
def test_other_answers_stay_honest(mode: str) -> None:
    """
    What holds no image is answered as ever, and is counted under its mode.
    """
    with HostileProvider(mode) as provider:
        said = answer(provider, "/chat/completions", messages=[])
        assert "Hello from a hostile provider." == said["choices"][0]["message"]["content"]
        assert len(get(f"{provider.base_url}/models").json()["data"]) > 1
        assert {"ok": True} == get(provider.url).json()
        assert {mode: 3} == provider.stats.by_mode


def test_a_request_may_ask_for_a_bad_image() -> None:
    """
    By its query, like any mode.
    """
    with HostileProvider() as provider:
        assert [] == answer(provider, "/images/generations?mode=image-no-data")["data"]
