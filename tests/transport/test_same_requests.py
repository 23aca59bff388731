"""
The server sees the very same bytes from the stock client and from ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.transport.faces import Face, Kind, Library, each_kind, each_library, run_with
from tests.transport.raw_server import OK, RawServer, says, serving

BOUNDARY = {"content-type": "multipart/form-data; boundary=b0undary"}


def pieces() -> Iterator[bytes]:
    yield from (b"a" * 10, b"", b"b" * 70_000, b"c")


async def async_pieces() -> AsyncIterator[bytes]:
    for piece in pieces():
        yield piece


REQUESTS: dict[str, dict[str, Any]] = {
    "get": {},
    "query": {"params": {"a": "1 2", "b": ["x", "ü"]}},
    "json": {"method": "POST", "json": {"prompt": "a cat", "n": 1}},
    "form": {"method": "POST", "data": {"a": "1", "b": ["2", "3"]}},
    "multipart": {
        "method": "POST",
        "headers": BOUNDARY,
        "data": {"a": "1"},
        "files": {"image": ("cat.png", b"\x89PNG" * 30_000, "image/png")},
    },
    "chunked": {"method": "POST", "content": None},
    "5 MB": {"method": "POST", "content": bytes(range(256)) * 20_000},
    "head": {"method": "HEAD"},
    "put": {"method": "PUT", "content": b"x"},
    "delete": {"method": "DELETE"},
    "options": {"method": "OPTIONS"},
    "headers": {"headers": [("X-One", "1"), ("x-two", "2"), ("X-One", "3"), ("User-Agent", "me")]},
    "cookies": {"cookies": {"session": "abc", "b": "c"}},
    "basic": {"auth": ("user", "pass")},
    "expect": {"method": "POST", "headers": {"expect": "100-continue"}, "content": b"x"},
    "target": {"extensions": {"target": b"/elsewhere"}},
}


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with serving(says(b"HTTP/1.1 204 No Content\r\n\r\n")) as server:
        yield server


def told(server: RawServer, kind: Kind, module: Any, request: dict[str, Any]) -> bytes:
    async def scenario(face: Face) -> int:
        options = {"method": "GET", **request}
        if "content" in options and options["content"] is None:
            options["content"] = pieces() if kind == "sync" else async_pieces()
        face.client.cookies.update(options.pop("cookies", {}))
        response = await face.request(url=f"{server.url}/path", **options)
        return int(response.status_code)

    assert 204 == run_with(kind, module, scenario)
    return server.connections[-1].seen


@each_kind
@each_library
@pytest.mark.parametrize("name", REQUESTS)
def test_same_bytes(server: RawServer, library: Library, kind: Kind, name: str) -> None:
    """
    Whatever is asked, not one byte differs.
    """
    stock = told(server, kind, library.stock, REQUESTS[name])
    ours = told(server, kind, library.ours, REQUESTS[name])

    assert stock
    assert stock == ours


@each_kind
@each_library
def test_same_bytes_on_one_connection(library: Library, kind: Kind) -> None:
    """
    Requests one after the other go over one connection, byte for byte.
    """

    async def scenario(face: Face) -> None:
        for _ in range(3):
            assert "ok" == (await face.get(alone.url)).text
        assert "ok" == (await face.post(alone.url, json=[1])).text

    seen = []
    for module in library:
        with serving(says(OK)) as alone:
            run_with(kind, module, scenario)
            seen.append([data.replace(str(alone.port).encode(), b"PORT") for data in alone.seen])

    stock, ours = seen
    assert 1 == len(ours)
    assert stock == ours
