"""
Only what is an image passes for one, whatever the provider sends.
"""

import base64
import struct
import zlib
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.images.drawing.answer import Link, found
from examples.images.drawing.check import checked
from examples.images.ports import Image, NoImageError

from .pictures import BY_TYPE, JPEG, PNG, WEBP

IMAGES = [content for _, content in BY_TYPE]
MAGICS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")
END_OF_PNG = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))


def no_image(content: bytes, max_bytes: int = 20_000_000) -> str:
    with pytest.raises(NoImageError) as caught:
        checked(content, max_bytes)
    return str(caught.value)


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("media_type, content", BY_TYPE)
def test_images_pass(media_type: str, content: bytes) -> None:
    """
    A whole image passes as it is, and its bytes say what it is.
    """
    assert Image(content, media_type) == checked(content)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_without_magic_pass(content: bytes) -> None:
    """
    Bytes that do not begin as an image never are one.
    """
    if not content.startswith(MAGICS):
        no_image(content)


@settings(deadline=None)
@given(st.sampled_from(MAGICS), st.binary(max_size=200))
def test_a_magic_makes_no_image(magic: bytes, rest: bytes) -> None:
    """
    The right beginning is not enough, whatever follows; and nothing but NoImageError is raised.
    """
    no_image(magic + rest)
    no_image(b"RIFF" + struct.pack("<I", len(rest) + 4) + b"WEBP" + rest)


@settings(deadline=None)
@given(st.sampled_from(IMAGES), st.data())
def test_no_part_of_an_image_passes(content: bytes, data: st.DataObject) -> None:
    """
    Wherever an image is cut, the rest of it is none.
    """
    no_image(content[: data.draw(st.integers(0, len(content) - 1))])


@settings(deadline=None)
@given(st.integers(0, len(PNG) - 1), st.integers(1, 255))
def test_a_png_with_one_wrong_byte_does_not_pass(at: int, change: int) -> None:
    """
    A PNG has checksums over all that it holds.
    """
    broken = bytearray(PNG)
    broken[at] ^= change
    no_image(bytes(broken))


@settings(deadline=None)
@given(st.sampled_from(IMAGES), st.data())
def test_damage_raises_nothing_else(content: bytes, data: st.DataObject) -> None:
    """
    Damaged images pass, or are none; no reader stumbles.
    """
    broken = bytearray(content)
    for _ in range(data.draw(st.integers(1, 8))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    try:
        checked(bytes(broken))
    except NoImageError:
        pass


@pytest.mark.parametrize(
    "content, flaw",
    [
        (b"", "no bytes"),
        (b"<html>", "neither PNG, JPEG nor WebP; they begin with 3c 68 74 6d 6c 3e"),
        (PNG[: -len(END_OF_PNG)], "no IEND chunk: it was cut off"),
        (PNG[:-20], "in the middle of a chunk"),
        (PNG[:8] + END_OF_PNG, "does not begin with an IHDR chunk"),
        (PNG[:33] + END_OF_PNG, "no IDAT chunk"),
        (PNG[:8] + chunk(b"IHDR", bytes(13)) + PNG[33:], "no pixels"),
        (PNG[:33] + chunk(b"IDAT") * 60_000 + END_OF_PNG, "more than 50,000 parts"),
        (JPEG[:-2], "no end-of-image mark: it was cut off"),
        (JPEG[:2] + JPEG[-2:], "no scan"),
        (JPEG[:20] + JPEG[-2:], "no scan"),
        (b"\xff\xd8" + b"\xff" * 100_000 + b"\xff\xd9", "more than 50,000 parts"),
        (b"\xff\xd8\xff\xda\0\2\xff\xd9", "no frame before its first scan"),
        (b"\xff\xd8\xff\xc0\0\x0b\x08\0\0\0\4\1\0\x11\0\xff\xd9", "no pixels"),
        (b"\xff\xd8\xff\xfe\0\3\0what\xff\xd9", "does not begin with its mark"),
        (WEBP[:-1], "it has 63 bytes and tells of 64"),
        (WEBP + b"\0", "it has 65 bytes and tells of 64"),
        (WEBP[:12] + b"ICCP" + WEBP[16:], "does not begin with an image chunk"),
        (WEBP[:16] + b"\xff\0\0\0" + WEBP[20:], "in the middle of a chunk"),
    ],
)
def test_the_flaw_is_named(content: bytes, flaw: str) -> None:
    """
    Who reads a dead letter sees what was wrong with the bytes.
    """
    assert flaw in no_image(content)


def test_what_pads_an_image_is_harmless() -> None:
    """
    Zeros behind a JPEG and bytes behind a PNG are common, and nothing is missing.
    """
    assert "image/jpeg" == checked(JPEG + bytes(3)).media_type
    assert "image/png" == checked(PNG + b"made by hand").media_type


def test_too_many_bytes() -> None:
    """
    An image may have so many bytes and not one more.
    """
    assert PNG == checked(PNG, len(PNG)).content
    assert f"{len(PNG):,} bytes, more than max_bytes ({len(PNG) - 1:,})" in no_image(PNG, len(PNG) - 1)


# -- where the image is in an answer -----------------------------------------------------------------------------------


def answer(*images: object) -> object:
    return SimpleNamespace(data=list(images))


def image(b64_json: object = None, url: object = None) -> object:
    return SimpleNamespace(b64_json=b64_json, url=url)


def test_bytes_or_a_link() -> None:
    """
    Base64 is decoded, broken into lines or not; else there is a url. Of two images the first counts.
    """
    text = base64.encodebytes(PNG).decode()

    assert PNG == found(answer(image(text)))
    assert PNG == found(answer(image(text.replace("\n", ""), url="")))
    assert Link("https://x/y.png") == found(answer(image(url=" https://x/y.png\n")))
    assert Link("https://x/1.png") == found(answer(image("", "https://x/1.png"), image("", "https://x/2.png")))


@pytest.mark.parametrize(
    "response, flaw",
    [
        (None, "data is missing"),
        ("<html>", "data is missing"),
        ([image("iVBOR")], "data is missing"),
        (SimpleNamespace(data=None), "data is missing"),
        (SimpleNamespace(data="iVBOR"), "data is a text, not a list of images"),
        (SimpleNamespace(data=None, error={"code": "billing", "message": "a cat"}), "its error has the code 'billing'"),
        (
            SimpleNamespace(data=None, error={"code": None, "type": "server_error"}),
            "its error has the type 'server_error'",
        ),
        (SimpleNamespace(data=None, error={"code": "you asked for: a cat"}), "it has an error"),
        (answer(), "an empty list"),
        (answer(None), "b64_json is missing, url is missing"),
        (answer("a cat"), "b64_json is missing, url is missing"),
        (answer(image(b64_json="", url="")), "b64_json is empty, url is empty"),
        (answer(image(url=" \n")), "url is blank"),
        (answer(image(b64_json=7, url={"a": "cat"})), "b64_json is of type int, url is of type dict"),
        (answer(image(b64_json="no base64!")), "b64_json is not base64"),
        (answer(image(b64_json="mäh!")), "b64_json is not base64"),
        (answer(image(b64_json="iVBOR")), "b64_json is not base64"),
        (answer(image(b64_json=" \n ")), "holds no bytes"),
        (answer(image(b64_json="AAAA" * 1000)), "more than 2,000 bytes"),
    ],
)
def test_no_image_in_the_answer(response: object, flaw: str) -> None:
    """
    The message tells what was missing, and nothing that was asked for.
    """
    with pytest.raises(NoImageError) as caught:
        found(response, max_bytes=2_000)

    assert flaw in str(caught.value)
    assert "cat" not in str(caught.value)
