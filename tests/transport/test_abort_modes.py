"""
Every way in which a provider can hang: the caller is back at its deadline, and is told where the request was.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest

from hungframe.testing import HostileProvider
from tests.transport.abort_helpers import (
    Ended,
    Side,
    body_generators,
    check_clean,
    check_on_time,
    check_told,
    each_kind,
    each_library,
    ended,
    plain_and_tls,
    post,
    timely,
)

pytestmark = body_generators

REPEATS = 3
UPLOAD = bytes(20_000_000)

# The mode, and the phase in which the deadline meets it.
HANGS = {
    "silent": "headers",
    "sleep:5": "headers",
    "trickle-headers:0.03": "headers",
    "trickle-body:0.03": "body",
    "stall-body": "body",
    "stream-stall": "body",
    "stream:1000:0.03": "body",
    "never-read": "write",
}
# Begin before there is a request, so each has a provider of its own.
AT_CONNECTION = {"tls-stall": ("headers", "tls"), "slow-accept:5": ("headers", "tls"), "never-read": ("write", "write")}

# What ends by itself, the outcome, and the exception if there is one.
ENDS = {
    "ok": ("success", None),
    "reset-before-headers": ("connection", "ReadError"),
    "reset-in-body": ("connection", "ReadError"),
    "close-early": ("connection", "RemoteProtocolError"),
    "malformed": ("connection", "RemoteProtocolError"),
    "wrong-length": ("connection", "RemoteProtocolError"),
    "429:2": ("quota", None),
    "503": ("5xx", None),
    "404": ("4xx", None),
    # Whole and in time, and no image in it: that is for whoever asked to find out.
    "image-empty-url": ("success", None),
    "image-null-url": ("success", None),
    "image-broken-bytes": ("success", None),
    "image-truncated": ("success", None),
    "image-error-body": ("success", None),
    "image-no-data": ("success", None),
}


def content_for(mode: str) -> bytes:
    return UPLOAD if mode == "never-read" else b"hi"


def ask(client: Any, provider: HostileProvider, mode: str) -> Any:
    if not mode.startswith("image-"):
        return post(client, provider, mode)
    return client.post(
        f"{provider.url}/v1/images/generations",
        json={"model": "gpt-image-1", "prompt": "a kiln"},
        headers={"X-Hostile-Mode": mode},
    )


@functools.cache
def hung(library: str, kind: str, tls: bool) -> dict[str, list[Ended]]:
    """
    All that hang, at once, through one client: they only wait, and do not disturb each other.
    """
    side = Side(library, kind)

    async def main() -> dict[str, list[Ended]]:
        client = side.client()
        modes = [mode for mode in HANGS for _ in range(REPEATS)]

        def job(mode: str) -> Any:
            return lambda: ended(side, post, client, provider, mode, content=content_for(mode))

        results = await side.at_once([job(mode) for mode in modes])
        # Not closed yet: what has gone, has gone because of the deadline.
        assert provider.wait_closed(1.0)
        check_clean(client)
        await side.close(client)
        by_mode: dict[str, list[Ended]] = {}
        for mode, result in zip(modes, results, strict=True):
            by_mode.setdefault(mode, []).append(result)
        return by_mode

    with HostileProvider("ok", tls=tls) as provider:
        return timely(lambda: side.run(main), lambda by_mode: [each for some in by_mode.values() for each in some])


@plain_and_tls
@each_kind
@each_library
@pytest.mark.parametrize("mode", HANGS)
def test_back_at_the_deadline(mode: str, library: str, kind: str, tls: bool) -> None:
    """
    The caller is back, knows the phase, and so does whoever reads the events.
    """
    all_of = hung(library, kind, tls)[mode]

    check_on_time(all_of)
    for each in all_of:
        error = check_told(each, HANGS[mode])
        assert error.wire is not None
        if HANGS[mode] == "write":
            assert 0 < error.wire.bytes_sent < len(UPLOAD)
            assert 0 == error.wire.bytes_received
            assert "no byte was taken for" in str(error)
        else:
            assert 100 < error.wire.bytes_sent < 1000
        if HANGS[mode] == "body":
            assert error.wire.bytes_received > 0
            assert "response body not complete after" in str(error)
        if mode in ("silent", "sleep:5"):
            assert 0 == error.wire.bytes_received
            assert "no response headers for" in str(error)
        if mode.startswith(("trickle", "stream:")):
            # A byte came a moment ago, and still the call is over.
            assert error.wire.silent_for < 0.15


@plain_and_tls
@each_kind
@each_library
def test_hostile_from_the_first_moment(library: str, kind: str, tls: bool) -> None:
    """
    Connections that are accepted, and then not served; under TLS the handshake is what hangs.
    """
    side = Side(library, kind)
    providers = {mode: HostileProvider(mode, tls=tls).start() for mode in AT_CONNECTION}

    async def main() -> list[Ended]:
        client = side.client()
        modes = [mode for mode in AT_CONNECTION for _ in range(REPEATS)]

        def job(mode: str) -> Any:
            url = f"{providers[mode].url}/x"
            return lambda: ended(side, client.post, url, content=content_for(mode))

        results = await side.at_once([job(mode) for mode in modes])
        for mode, each in zip(modes, results, strict=True):
            error = check_told(each, AT_CONNECTION[mode][tls])
            assert error.wire is not None
            if error.phase == "tls":
                assert (0, 0) == (error.wire.bytes_sent, error.wire.bytes_received)
                assert "no TLS handshake for" in str(error)
        assert all(provider.wait_closed(1.0) for provider in providers.values())
        check_clean(client)
        await side.close(client)
        return results

    try:
        check_on_time(timely(lambda: side.run(main), list))
    finally:
        for provider in providers.values():
            provider.close()


@plain_and_tls
@each_kind
@each_library
def test_a_body_without_end(library: str, kind: str, tls: bool) -> None:
    """
    One that comes as fast as it is read never waits, and is cut all the same.
    """
    side = Side(library, kind)

    async def main() -> list[Ended]:
        client = side.client(max_response_bytes=None)

        async def read_all() -> None:
            # Not kept: this is about time.
            if kind == "sync":
                with client.stream("GET", f"{provider.url}/x") as response:
                    for _ in response.iter_raw():
                        pass
            else:
                async with client.stream("GET", f"{provider.url}/x") as response:
                    async for _ in response.aiter_raw():
                        pass

        def read_all_sync() -> None:
            coro = read_all()
            try:
                coro.send(None)
            except StopIteration:
                pass

        results = [await ended(side, read_all_sync if kind == "sync" else read_all)]
        assert provider.wait_closed(1.0)
        check_clean(client)
        await side.close(client)
        return results

    with HostileProvider("endless-body", tls=tls) as provider:
        results = timely(lambda: side.run(main), list)
    check_on_time(results)
    for each in results:
        error = check_told(each, "body")
        assert error.wire is not None
        assert error.wire.bytes_received > 100_000
        assert error.wire.silent_for < 0.15


@plain_and_tls
@each_kind
@each_library
def test_what_ends_by_itself_is_left_to_end(library: str, kind: str, tls: bool) -> None:
    """
    The client's own exception, or the response, comes through at once, and is counted for what it is.
    """
    side = Side(library, kind)

    async def main() -> dict[str, Ended]:
        client = side.client()
        results = {mode: await ended(side, ask, client, provider, mode, settings={"timeout": 5.0}) for mode in ENDS}
        check_clean(client)
        await side.close(client)
        assert provider.wait_closed(1.0)
        return results

    with HostileProvider("ok", tls=tls) as provider:
        results = side.run(main)
    for mode, (outcome, error) in ENDS.items():
        each = results[mode]
        assert {outcome: 1} == each.counted, mode
        assert each.seconds < 1.0, mode
        if error is None:
            assert each.error is None, repr(each.error)
            assert (int(mode[:3]) if mode[0].isdigit() else 200) == each.result.status_code
        else:
            assert type(each.error) is getattr(side.stock, error), (mode, each.error)


def test_no_mode_was_forgotten() -> None:
    """
    A mode that is added to the provider is added here.
    """
    from hungframe.testing.provider import MODES

    played = {*HANGS, *AT_CONNECTION, *ENDS, "endless-body"}
    names = {mode.partition(":")[0] for mode in played}
    for usage in MODES:
        name = usage.partition(":")[0].partition("[")[0]
        assert name in names or name.startswith("<"), usage
