"""
However a guarded call is written, the deadline on the wire is its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from hungframe import CallTimeoutError, Guard
from hungframe.testing import HostileProvider, RecordingSink
from tests.transport.abort_helpers import (
    DEADLINE,
    LATEST,
    Side,
    body_generators,
    check_clean,
    check_on_time,
    check_told,
    drive,
    each_kind,
    each_library,
    each_loop,
    ended,
    post,
    timely,
)

pytestmark = body_generators


@pytest.fixture(scope="module")
def provider() -> Iterator[HostileProvider]:
    """
    One for all: each request says its mode.
    """
    with HostileProvider() as started:
        yield started


@each_library
@pytest.mark.parametrize("isolate", ["auto", "thread", None])
@pytest.mark.parametrize("mode", ["silent", "trickle-body:0.03", "never-read"])
def test_with_a_thread_and_without(mode: str, isolate: Any, library: str, provider: HostileProvider) -> None:
    """
    In a worker thread, too, the transport ends the call itself: no thread is left to count.
    """
    side = Side(library, "sync")

    def once() -> list[Any]:
        client = side.client()
        content = bytes(20_000_000 if mode == "never-read" else 2)

        async def main() -> Any:
            return await ended(side, post, client, provider, mode, content=content, settings={"isolate": isolate})

        each = side.run(main)
        assert provider.wait_closed(1.0)
        check_clean(client)
        client.close()
        return [each]

    results = timely(once, list)
    check_on_time(results)
    check_told(results[0], {"s": "headers", "t": "body", "n": "write"}[mode[0]])


@each_library
def test_in_a_block(library: str, provider: HostileProvider) -> None:
    """
    `with guard.attempt()`: nothing but the transport can end what is in it.
    """
    side = Side(library, "sync")
    guard = Guard("hostile", timeout=DEADLINE)
    client = side.client()

    began = time.monotonic()
    with pytest.raises(CallTimeoutError) as caught, guard.attempt():
        post(client, provider, "silent")
    assert DEADLINE - 0.01 < time.monotonic() - began < DEADLINE + LATEST
    assert "headers" == caught.value.phase
    assert 1 == guard.snapshot().counts["timeout"] == sum(guard.snapshot().counts.values())
    check_clean(client)
    client.close()


@each_loop
@each_library
def test_in_an_async_block(library: str, kind: str, provider: HostileProvider) -> None:
    """
    `async with guard.attempt()`.
    """
    side = Side(library, kind)
    guard = Guard("hostile", timeout=DEADLINE)

    async def main() -> None:
        client = side.client()
        began = time.monotonic()
        with pytest.raises(CallTimeoutError) as caught:
            async with guard.attempt():
                await post(client, provider, "stall-body")
        assert DEADLINE - 0.01 < time.monotonic() - began < DEADLINE + LATEST
        assert "body" == caught.value.phase
        check_clean(client)
        await side.close(client)

    side.run(main)
    assert 1 == guard.snapshot().counts["timeout"] == sum(guard.snapshot().counts.values())


@each_kind
@each_library
@pytest.mark.parametrize("shorter", ["inner", "outer"])
def test_nested(shorter: str, library: str, kind: str, provider: HostileProvider) -> None:
    """
    The earlier deadline holds, and the call whose deadline it is has timed out.
    """
    side = Side(library, kind)
    timeouts = {"inner": DEADLINE + 1.0, "outer": DEADLINE + 1.0, shorter: DEADLINE}
    outer, inner = (Guard(name, timeout=timeouts[name], isolate=None) for name in ("outer", "inner"))

    async def main() -> None:
        client = side.client()

        def call_inner() -> Any:
            if kind == "sync":
                return inner.call(post, client, provider, "silent")
            return inner.acall(post, client, provider, "silent")

        began = time.monotonic()
        with pytest.raises(CallTimeoutError) as caught:
            await side.call(outer, call_inner)
        assert DEADLINE - 0.01 < time.monotonic() - began < DEADLINE + LATEST
        assert "headers" == caught.value.phase
        check_clean(client)
        await side.close(client)

    side.run(main)
    assert 1 == inner.snapshot().counts["timeout" if shorter == "inner" else "cancelled"]
    assert 1 == outer.snapshot().counts["timeout"]
    assert 1 == sum(inner.snapshot().counts.values())
    assert provider.wait_closed(1.0)


@each_kind
@each_library
def test_what_a_call_within_timed_out_on_is_not_told_of_the_one_around(library: str, kind: str) -> None:
    """
    The inner call was cut on the wire, the outer one hung elsewhere.
    """
    side = Side(library, kind)
    outer, inner = Guard("outer", timeout=DEADLINE * 2, isolate="thread"), Guard("inner", timeout=0.1, isolate=None)

    async def main() -> None:
        client = side.client()

        async def callee() -> None:
            with pytest.raises(CallTimeoutError) as caught:
                await side.call(inner, post, client, silent, "silent")
            assert "headers" == caught.value.phase
            await side.sleep(1.0)

        with pytest.raises(CallTimeoutError) as caught:
            await side.call(outer, (lambda: drive(callee())) if kind == "sync" else callee)
        assert ("outer", None) == (caught.value.guard, caught.value.wire)
        await side.close(client)

    with HostileProvider() as silent:
        side.run(main)


@each_kind
@each_library
def test_a_deadline_that_has_passed(library: str, kind: str) -> None:
    """
    Nothing is sent: the provider sees no connection.
    """
    side = Side(library, kind)

    async def main() -> None:
        client = side.client()

        def late() -> Any:
            time.sleep(0.1)
            return post(client, fresh, "ok")

        each = await ended(side, late, settings={"timeout": 0.05})
        # No request was under way that the time could have gone to.
        assert each.timeout().wire is None
        check_clean(client)
        await side.close(client)

    with HostileProvider() as fresh:
        side.run(main)
        assert 0 == fresh.stats.opened


@each_kind
@each_library
@pytest.mark.parametrize("then", ["returns", "raises", "asks again"])
def test_a_callee_that_catches_it_and_goes_on(then: str, library: str, kind: str, provider: HostileProvider) -> None:
    """
    What the callee makes of the client's exception does not matter: its time was up.
    """
    side = Side(library, kind)
    asked = len(provider.requests)

    async def main() -> Any:
        client = side.client()

        def stubborn() -> Any:
            try:
                return post(client, provider, "silent")
            except side.stock.TimeoutException:
                if then == "raises":
                    raise ValueError("mine") from None
                return post(client, provider, "ok") if then == "asks again" else "fallback"

        async def stubborn_async() -> Any:
            try:
                return await post(client, provider, "silent")
            except BaseException:
                if then == "raises":
                    raise ValueError("mine") from None
                return await post(client, provider, "ok") if then == "asks again" else "fallback"

        each = await ended(side, stubborn if kind == "sync" else stubborn_async)
        check_clean(client)
        await side.close(client)
        return each

    each = side.run(main)
    assert each.late < LATEST
    error = check_told(each, "headers")
    assert "no response headers" in str(error)
    # The second request never left.
    assert asked + 1 == len(provider.requests)


@each_kind
@each_library
def test_retries_within_the_callee(library: str, kind: str, provider: HostileProvider) -> None:
    """
    As an SDK does it: ten attempts, and none of them is made once the time is up.
    """
    side = Side(library, kind)
    sink = RecordingSink()
    guard = Guard("hostile", timeout=DEADLINE, isolate=None, sinks=[sink])
    attempts = []

    async def main() -> float:
        client = side.client()

        async def retrying() -> Any:
            for _ in range(10):
                attempts.append(time.monotonic())
                try:
                    return await side.do(post, client, provider, "silent")
                except Exception:
                    continue
            raise AssertionError("ten attempts")

        def retrying_sync() -> Any:
            for _ in range(10):
                attempts.append(time.monotonic())
                try:
                    return post(client, provider, "silent")
                except Exception:
                    continue
            raise side.stock.ConnectError("ten attempts")

        began = time.monotonic()
        with pytest.raises(CallTimeoutError) as caught:
            await side.call(guard, retrying_sync if kind == "sync" else retrying)
        seconds = time.monotonic() - began
        assert "headers" == caught.value.phase
        check_clean(client)
        await side.close(client)
        return seconds

    before = provider.stats.requests
    assert side.run(main) < DEADLINE + LATEST
    assert before + 1 == provider.stats.requests
    assert ["gen.request", "gen.fail"] == sink.names()
    assert {"timeout": 1} == {name: count for name, count in guard.snapshot().counts.items() if count}
