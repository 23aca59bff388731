"""
What cannot work is refused where it is given, with what would do.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hungframe import Guard
from hungframe.testing import HostileProvider
from hungframe.transport import _pool
from tests.transport.abort_helpers import LIBRARIES, Side, each_kind, each_library, ended, post

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def provider() -> Iterator[HostileProvider]:
    """
    One for all.
    """
    with HostileProvider() as started:
        yield started


def other(library: str, kind: str) -> Side:
    return Side(LIBRARIES[1 - LIBRARIES.index(library)], kind)


def transport_of(side: Side) -> Any:
    return getattr(side.stock, "HTTPTransport" if side.kind == "sync" else "AsyncHTTPTransport")()


def guard_transport(side: Side, *args: Any, **named: Any) -> Any:
    return getattr(side.ours, "GuardTransport" if side.kind == "sync" else "AsyncGuardTransport")(*args, **named)


@each_kind
@each_library
@pytest.mark.parametrize("where", ["transport", "mounts", "wrapped"])
def test_a_transport_of_the_other_library(where: str, library: str, kind: str) -> None:
    """
    The error names the module, and the extra, that it belongs to.
    """
    side, wrong = Side(library, kind), other(library, kind)
    theirs = transport_of(wrong)
    with pytest.raises(TypeError) as caught:
        if where == "transport":
            side.client(transport=theirs)
        elif where == "mounts":
            side.client(mounts={"https://": theirs})
        else:
            guard_transport(side, theirs)
    told = str(caught.value)
    assert f"transport must be a {library}." in told
    assert f"hungframe.transport.{wrong.library}" in told
    assert f"pip install 'hungframe[{wrong.library}]'" in told


@each_library
@pytest.mark.parametrize("value", [object(), "http", 1])
def test_no_transport_at_all(value: Any, library: str) -> None:
    """
    Nor is the other kind, sync for async, a transport.
    """
    side = Side(library, "sync")
    for wrong in (value, transport_of(Side(library, "asyncio"))):
        with pytest.raises(TypeError, match=f"transport must be a {library}.BaseTransport, got"):
            side.client(transport=wrong)


@each_kind
@each_library
def test_a_transport_and_options(library: str, kind: str) -> None:
    """
    The options would have been lost.
    """
    side = Side(library, kind)
    with pytest.raises(TypeError, match="http2 would make a transport, and one was given"):
        guard_transport(side, transport_of(side), http2=True)


@each_kind
@each_library
@pytest.mark.parametrize("value", ["x", 1, Guard])
def test_a_guard_that_is_none(value: Any, library: str, kind: str) -> None:
    """
    A name is not a guard.
    """
    side = Side(library, kind)
    with pytest.raises(TypeError, match="guard must be a Guard or None, got"):
        side.client(guard=value)
    with pytest.raises(TypeError, match="guard must be a Guard or None, got"):
        guard_transport(side, guard=value)


@each_kind
@each_library
def test_a_client_that_is_closed(library: str, kind: str, provider: HostileProvider) -> None:
    """
    The library's own error comes through, and is the caller's mistake, not a timeout.
    """
    side = Side(library, kind)

    async def main() -> None:
        client = side.client()
        assert 200 == (await side.do(post, client, provider, "ok")).status_code
        await side.close(client)
        # Again does no harm.
        await side.close(client)
        each = await ended(side, post, client, provider, "ok")
        assert isinstance(each.error, RuntimeError)
        assert "closed" in str(each.error)
        assert {"unknown": 1} == each.counted

    side.run(main)
    assert provider.wait_closed(1.0)


@each_kind
@each_library
def test_an_address_that_is_none(library: str, kind: str) -> None:
    """
    Refused, not found, not spoken: the client's own errors.
    """
    side = Side(library, kind)

    async def main() -> None:
        client = side.client()
        each = await ended(side, client.get, "http://127.0.0.1:1/")
        assert type(each.error) is side.stock.ConnectError
        assert {"connection": 1} == each.counted
        each = await ended(side, client.get, "ftp://127.0.0.1/")
        assert type(each.error) is side.stock.UnsupportedProtocol
        each = await ended(side, client.get, "http://nowhere.invalid/", settings={"timeout": 5.0})
        assert type(each.error) is side.stock.ConnectError
        await side.close(client)

    side.run(main)


@each_library
@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_a_client_of_either_library_in_an_sdk(library: str, kind: str, provider: HostileProvider) -> None:
    """
    An SDK of today is made for one of the two. With the other it may work, or say so at once, and never hangs.
    """
    openai: Any = pytest.importorskip("openai")
    side = Side(library, kind)
    made = openai.OpenAI if kind == "sync" else openai.AsyncOpenAI

    async def main() -> None:
        client = side.client()
        for mode in ("ok", "silent"):
            began = time.monotonic()
            try:
                sdk = made(http_client=client, api_key="none", base_url=provider.base_url, max_retries=0)
                asked = sdk.chat.completions.create
                each = await ended(side, asked, model="m", messages=[], extra_headers={"X-Hostile-Mode": mode})
            except (TypeError, AssertionError):
                # Refused.
                continue
            assert time.monotonic() - began < 1.0
            if mode == "silent":
                assert each.counted in ({"timeout": 1}, {"unknown": 1})
        await side.close(client)

    side.run(main)
    assert provider.wait_closed(1.0)


@each_library
def test_a_library_that_is_missing(library: str) -> None:
    """
    The error names the extra; `import hungframe` needs neither library.
    """
    program = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("{library}", "{library.replace("httpx", "httpcore")}"):
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Blocker())
import hungframe
import hungframe.transport
try:
    import hungframe.transport.{library}
except ImportError as error:
    print(error)
    print(type(error.__cause__).__name__)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    told, cause = ran.stdout.splitlines()
    assert f"hungframe.transport.{library} needs {library}" in told
    assert f"pip install 'hungframe[{library}]'" in told
    assert "ModuleNotFoundError" == cause


@each_library
@pytest.mark.parametrize("missing", ["_pool", "_connections", "_network_backend", "_requests"])
def test_a_library_that_has_changed(missing: str, library: str) -> None:
    """
    The check names what is not there, and which release has it; no request is ever made.
    """
    pool = types.SimpleNamespace(
        _assign_requests_to_connections=None,
        _connections=[],
        _network_backend=None,
        _optional_thread_lock=None,
        _requests=[],
    )
    if missing != "_pool":
        delattr(pool, missing)

    class HTTPTransport:
        def __init__(self, **_: Any) -> None:
            if missing != "_pool":
                self._pool = pool

    changed: Any = types.ModuleType(library)
    changed.__version__ = "99.0"
    with pytest.raises(ImportError) as caught:
        _pool.check_library(changed, (HTTPTransport,), f"install {library} 1.0")
    told = str(caught.value)
    assert f"cannot work with {library} 99.0, in which HTTPTransport has no " in told
    assert missing in told
    assert f"install {library} 1.0" in told
