"""
A prober closes the breaker in a lane of its own; user calls are not used as probes.
"""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from hungframe import (
    CallTimeoutError,
    CircuitBreaker,
    CircuitOpenError,
    Guard,
    Outcome,
    TokenBucket,
)
from hungframe.recovery import CurrentProbe, Prober, ProbeResult, current_probe
from hungframe.testing import RecordingSink, hostile, run_virtual
from tests.guard.fakes import Backend, StatusError, about, fail, on_each_backend, outcome_of, sleeps
from tests.guard.recovering import Provider, ended, never_later, opened, probed_guard


@on_each_backend
def test_three_probes_close_it_and_no_user_call_is_one(backend: Backend) -> None:
    """
    Half-open after 60 s; probes at 60, 120 and 180 s; users are refused until it is closed, and told for how long.
    """

    async def main() -> None:
        sink = RecordingSink()
        provider = Provider()
        guard, prober = probed_guard(provider.probe, sink)
        began_at = anyio.current_time()
        async with prober:
            opened(guard)
            refused: list[tuple[str, float]] = []
            for _ in range(17):
                await anyio.sleep(10)
                with pytest.raises(CircuitOpenError) as raised:
                    await guard.acall(sleeps, 0)
                assert raised.value.retry_after is not None
                refused.append((guard.snapshot().state, raised.value.retry_after))
            assert 17 == len(refused)
            assert ("open", about(50.0)) == refused[0]
            assert ("half_open", about(50.0)) == refused[6]
            await anyio.sleep(10.5)
            assert "closed" == guard.snapshot().state
            assert "done" == await guard.acall(sleeps, 0)

        assert [about(60.0), about(120.0), about(180.0)] == [at - began_at for at in provider.probed_at]
        assert [("timeout", "success")] * 3 == ended(sink)

    run_virtual(main, backend=backend)


@on_each_backend
def test_a_probe_takes_nothing_that_calls_share(backend: Backend) -> None:
    """
    No token, no count, no place in flight, no event of a call; it is told by an event of its own.
    """

    async def main() -> None:
        sink = RecordingSink()
        provider = Provider()
        provider.hangs_for = 5.0
        guard, prober = probed_guard(provider.probe, sink, budget=TokenBucket(10, 1e6))
        opened(guard)
        sink.clear()
        before = guard.snapshot()
        async with prober:
            await anyio.sleep(62)
            during = guard.snapshot()
            assert 1 == provider.running
            assert (0, before.budget, before.counts) == (during.in_flight, during.budget, during.counts)
            await anyio.sleep(4)
            told = json.loads(sink.events[-1].to_json())
            assert ["breaker.state", "probe.result"] == sink.names()

        del told["ts"], told["id"]
        assert {
            "evt": "probe.result",
            "guard": "images",
            "kind": "timeout",
            "outcome": "success",
            "latencyMs": 5000,
            "noStore": True,
        } == told
        assert before.counts == guard.snapshot().counts

    run_virtual(main, backend=backend)


@on_each_backend
def test_a_failed_probe_opens_it_again_and_the_next_is_scheduled(backend: Backend) -> None:
    """
    Each opening is told with why, and in how many milliseconds it is probed.
    """

    async def main() -> None:
        sink = RecordingSink()
        provider = Provider()
        provider.error = StatusError(429)
        guard, prober = probed_guard(provider.probe, sink, breaker=CircuitBreaker(backoff=2.0))
        opened(guard)
        async with prober:
            await anyio.sleep(61)
            assert "open" == guard.snapshot().state
            provider.error = None
            await anyio.sleep(121)

        scheduled = [json.loads(event.to_json()) for event in sink.of("probe.scheduled")]
        assert [("timeout", 60000), ("burst", 120000)] == [(each["kind"], each["inMs"]) for each in scheduled]
        assert [("timeout", "quota"), ("burst", "success")] == ended(sink)

    run_virtual(main, backend=backend)


@on_each_backend
def test_a_probe_that_hangs_is_cut_at_the_ceiling_and_the_next_one_comes(backend: Backend) -> None:
    """
    90 s, not the 60 that a call is given; then the breaker opens again, and the prober goes on.
    """

    async def main() -> None:
        sink = RecordingSink()
        provider = Provider()
        provider.hangs_for = 10_000.0
        guard, prober = probed_guard(provider.probe, sink)
        opened(guard)
        async with prober:
            await anyio.sleep(60 + 90 + 1)
            assert [("timeout", "timeout")] == ended(sink)
            assert 90_000 == getattr(sink.of("probe.result")[0], "latency_ms", None)
            assert ("open", 0) == (guard.snapshot().state, guard.snapshot().orphans)
            provider.hangs_for = 0.0
            await anyio.sleep(60 + 120)
            assert "closed" == guard.snapshot().state
        assert 1 == provider.most_running

    run_virtual(main, backend=backend)


@pytest.mark.parametrize(("callee", "orphans"), [(hostile.swallows_cancel, 0), (hostile.ignores_close, 1)])
def test_a_probe_that_does_not_leave_is_left_and_counted(callee: Any, orphans: int) -> None:
    """
    It counts as a timeout, its orphan is counted, and the prober lives.
    """

    async def main() -> None:
        sink = RecordingSink()
        hangs = [True]

        async def probe() -> None:
            if hangs:
                hangs.pop()
                await callee(0.5)

        breaker = CircuitBreaker(open_for=0.05, max_open_for=0.05, close_after=1)
        guard, prober = probed_guard(probe, sink, every=0.05, breaker=breaker, timeout=0.05, grace=0.02)
        opened(guard)
        async with prober:
            with anyio.fail_after(5):
                while guard.snapshot().state != "closed":
                    await anyio.sleep(0.01)
        assert [("timeout", "timeout"), ("timeout", "success")] == ended(sink)
        assert orphans == sink.names().count("gen.abandoned")

    anyio.run(main)


@on_each_backend
def test_probes_that_leave_orphans_give_the_lane_back(backend: Backend) -> None:
    """
    With half of what may be left behind still running no more probes are made, and user calls may close the breaker.
    """

    async def main() -> None:
        provider = Provider()
        guard, prober = probed_guard(provider.probe, max_orphans=2)
        opened(guard)
        guard._engine.orphans.running[object()] = None  # type: ignore[index]
        async with prober:
            await anyio.sleep(61)
            assert [] == provider.probed_at
            assert "done" == await guard.acall(sleeps, 0)

    run_virtual(main, backend=backend)


@on_each_backend
def test_the_distance_is_the_probers_and_not_the_breakers(backend: Backend) -> None:
    """
    every=10 probes three times in 20 s, whatever probe_every says.
    """

    async def main() -> None:
        provider = Provider()
        guard, prober = probed_guard(provider.probe, every=10.0, breaker=CircuitBreaker(probe_every=300.0))
        opened(guard)
        async with prober:
            await anyio.sleep(81)
            assert "closed" == guard.snapshot().state
        assert 3 == len(provider.probed_at)

    run_virtual(main, backend=backend)


@on_each_backend
def test_a_prober_that_is_stopped_gives_the_lane_back_at_once(backend: Backend) -> None:
    """
    Also in the middle of a probe: its permit is given back, and the next user's call is let through.
    """

    async def main() -> None:
        sink = RecordingSink()
        provider = Provider()
        provider.hangs_for = 30.0
        guard, prober = probed_guard(provider.probe, sink)
        opened(guard)
        async with prober:
            await anyio.sleep(70)
            assert 1 == provider.running
            with pytest.raises(CircuitOpenError):
                guard.acquire()
        assert 0 == provider.running
        assert "half_open" == guard.snapshot().state
        assert 0.0 == guard.snapshot().retry_after
        assert "done" == await guard.acall(sleeps, 0)
        assert [] == ended(sink)

    run_virtual(main, backend=backend)


@on_each_backend
def test_a_prober_that_died_gives_the_lane_back_after_its_lease(backend: Backend) -> None:
    """
    every + ceiling + grace + 5 s after its last sign of life user calls probe again, and not before.
    """

    async def main() -> None:
        provider = Provider()
        guard, prober = probed_guard(provider.probe)
        prober._guarded()[1].beat()
        opened(guard)
        await anyio.sleep(60)
        assert guard.health.should_open_circuit()
        await anyio.sleep(95.2)
        with pytest.raises(CircuitOpenError) as refused:
            guard.acquire()
        assert 1.0 == refused.value.retry_after
        await anyio.sleep(0.1)
        assert not guard.health.should_open_circuit()
        assert "done" == await guard.acall(sleeps, 0)

    run_virtual(main, backend=backend)


@on_each_backend
def test_it_may_be_entered_again(backend: Backend) -> None:
    """
    A service that is started again has its prober again.
    """

    async def main() -> None:
        provider = Provider()
        guard, prober = probed_guard(provider.probe)
        opened(guard)
        async with prober:
            await anyio.sleep(61)
        async with prober:
            await anyio.sleep(121)
            assert "closed" == guard.snapshot().state
        assert 3 == len(provider.probed_at)

    run_virtual(main, backend=backend)


@on_each_backend
def test_a_hundred_users_at_once_wait_for_the_prober(backend: Backend) -> None:
    """
    None of a hundred callers is let through in half-open, with the flag on; none behind a probe is held up.
    """

    async def main() -> None:
        provider = Provider()
        provider.hangs_for = 20.0
        guard, prober = probed_guard(provider.probe)
        opened(guard)
        async with prober:
            await anyio.sleep(65)
            asked_at = anyio.current_time()
            ends = [await outcome_of(lambda: guard.acall(sleeps, 0)) for _ in range(100)]
            assert ["CircuitOpenError"] * 100 == ends
            assert asked_at == anyio.current_time()

    run_virtual(main, backend=backend)


@on_each_backend
def test_the_timeout_learns_what_a_probe_took(backend: Backend) -> None:
    """
    A provider that has become slower is learned from its probes.
    """

    async def main() -> None:
        provider = Provider()
        provider.hangs_for = 70.0
        guard, prober = probed_guard(provider.probe)
        for _ in range(20):
            guard.health.record_success(20.0)
        before = guard.snapshot().p95
        while guard.snapshot().state == "closed":
            fail(guard, TimeoutError())
        async with prober:
            await anyio.sleep(60 + 3 * 75)
        after = guard.snapshot().p95
        assert before is not None and after is not None
        assert after > before

    run_virtual(main, backend=backend)


@on_each_backend
def test_why_it_was_probed(backend: Backend) -> None:
    """
    More than half 429s: a burst; and quota where the provider has named a later time, for which the probe waits.
    """

    async def main() -> None:
        for errors, paused_for, kind, probed_after in (
            ([TimeoutError()] * 3, 0.0, "timeout", 60.0),
            ([TimeoutError()] * 3, 200.0, "timeout", 200.0),
            ([StatusError(429)] * 10, 0.0, "burst", 60.0),
            ([StatusError(429)] * 10, 30.0, "burst", 60.0),
            ([StatusError(429)] * 10, 200.0, "quota", 200.0),
            ([StatusError(500)] * 3 + [StatusError(429)] * 4, 0.0, "burst", 60.0),
            ([StatusError(429)] * 3 + [StatusError(500)] * 4, 0.0, "timeout", 60.0),
        ):
            sink = RecordingSink()
            provider = Provider()
            guard, prober = probed_guard(provider.probe, sink)
            began_at = anyio.current_time()
            async with prober:
                last = guard.acquire()
                for error in errors[:-1]:
                    guard.health.record_failure(Outcome("timeout") if isinstance(error, TimeoutError) else _kind(error))
                if paused_for:
                    guard.pause(paused_for)
                last.settle("timeout" if isinstance(errors[-1], TimeoutError) else _kind(errors[-1]))
                await anyio.sleep(max(61.0, paused_for + 1))
            told = json.loads(sink.of("probe.scheduled")[0].to_json())
            assert (kind, round(probed_after * 1000)) == (told["kind"], told["inMs"])
            assert [about(probed_after)] == [at - began_at for at in provider.probed_at[:1]]
            assert (kind, "success") == ended(sink)[0]

    run_virtual(main, backend=backend)


def _kind(error: BaseException) -> str:
    return "quota" if getattr(error, "status_code", None) == 429 else "5xx"


@on_each_backend
def test_what_a_probe_brings_is_marked_not_to_be_stored(backend: Backend) -> None:
    """
    By `current_probe()` below it, and in the result that `on_result` is handed.
    """

    async def main() -> None:
        results: list[ProbeResult] = []
        seen: list[CurrentProbe | None] = []
        error = StatusError(503)

        async def probe() -> str:
            await anyio.sleep(2)
            seen.append(current_probe())
            if len(seen) == 1:
                raise error
            return "a shape"

        prober = Prober(probe, on_result=results.append, random=never_later)
        guard = opened(Guard("images", recovery=prober))
        async with prober:
            await anyio.sleep(130)
        assert [CurrentProbe("images", "timeout", no_store=True)] * 2 == seen
        assert current_probe() is None
        assert [
            ProbeResult("images", "timeout", "5xx", 2.0, None, error),
            ProbeResult("images", "timeout", "success", 2.0, "a shape"),
        ] == [ProbeResult(r.guard, r.kind, r.outcome, round(r.seconds, 6), r.value, r.error) for r in results]
        assert all(result.no_store for result in results)
        assert 0 == guard.snapshot().faults

    run_virtual(main, backend=backend)


@on_each_backend
def test_a_sync_probe_has_a_worker_thread(backend: Backend) -> None:
    """
    It does not block the loop, sees its deadline, and knows that it is a probe.
    """

    async def main() -> None:
        import threading

        from hungframe import time_left

        seen: list[Any] = []

        def probe() -> None:
            seen.append((threading.current_thread().name, time_left() is not None, current_probe() is not None))

        breaker = CircuitBreaker(open_for=0.02, max_open_for=0.02, close_after=1)
        guard, prober = probed_guard(probe, every=0.02, breaker=breaker)
        opened(guard)
        async with prober:
            with anyio.fail_after(5):
                while guard.snapshot().state != "closed":
                    await anyio.sleep(0.01)
        assert [("hungframe-worker", True, True)] == seen

    anyio.run(main, backend=backend)


@on_each_backend
def test_a_probe_may_call_through_its_own_guard(backend: Backend) -> None:
    """
    The call inside is let through, and counts once, as the probe that it is.
    """

    async def main() -> None:
        sink = RecordingSink()

        async def probe() -> object:
            return await guard.acall(sleeps, 1)

        guard, prober = probed_guard(probe, sink)
        opened(guard)
        async with prober:
            await anyio.sleep(61.5)
            assert [("timeout", "success")] == ended(sink)
            assert "half_open" == guard.snapshot().state
            await anyio.sleep(121)
            assert "closed" == guard.snapshot().state

    run_virtual(main, backend=backend)


@on_each_backend
def test_another_guards_refusal_proves_nothing(backend: Backend) -> None:
    """
    A probe that another guard refuses is told as rejected; the next one comes at its time, not at once.
    """

    async def main() -> None:
        sink = RecordingSink()
        inner = Guard("inner")
        inner.force_open()

        async def probe() -> object:
            return await inner.acall(sleeps, 1)

        guard, prober = probed_guard(probe, sink)
        opened(guard)
        async with prober:
            await anyio.sleep(60 + 125)
        assert [("timeout", "rejected")] * 3 == ended(sink)
        assert "half_open" == guard.snapshot().state

    run_virtual(main, backend=backend)


@on_each_backend
def test_nobody_is_probed_by_an_operators_leave(backend: Backend) -> None:
    """
    Forced open, nothing goes out; reset, there is nothing to recover.
    """

    async def main() -> None:
        provider = Provider()
        guard, prober = probed_guard(provider.probe)
        opened(guard)
        async with prober:
            guard.force_open()
            await anyio.sleep(600)
            guard.reset()
            await anyio.sleep(600)
        assert [] == provider.probed_at

    run_virtual(main, backend=backend)


@on_each_backend
def test_a_budget_of_its_own_spaces_them(backend: Backend) -> None:
    """
    A bucket of one token in 100 s lets one probe through in 100 s.
    """

    async def main() -> None:
        provider = Provider()
        prober = Prober(provider.probe, 10.0, budget=TokenBucket(1, 100.0), random=never_later)
        guard = opened(Guard("images", recovery=prober))
        began_at = anyio.current_time()
        async with prober:
            await anyio.sleep(261)
            assert "closed" == guard.snapshot().state
        assert [about(60.0), about(160.0), about(260.0)] == [at - began_at for at in provider.probed_at]

    run_virtual(main, backend=backend)


def test_a_bucket_that_the_guard_has_too_is_no_deadlock() -> None:
    """
    Who gives guard and prober one bucket has them share it.
    """

    async def main() -> None:
        bucket = TokenBucket(10, 1000.0)
        provider = Provider()
        prober = Prober(provider.probe, budget=bucket, random=never_later)
        guard = opened(Guard("images", budget=bucket, recovery=prober))
        async with prober:
            await anyio.sleep(61)
        assert 6 == guard.snapshot().budget

    run_virtual(main)


def test_jitter_spreads_a_fleet() -> None:
    """
    A probe comes up to a tenth of `every` later, never earlier.
    """

    async def main() -> None:
        provider = Provider()
        draws = iter([0.5, 0.0, 0.9] * 3)
        prober = Prober(provider.probe, random=lambda: next(draws))
        guard = opened(Guard("images", recovery=prober))
        began_at = anyio.current_time()
        async with prober:
            await anyio.sleep(200)
            assert "closed" == guard.snapshot().state
        assert [about(63.0), about(123.0), about(188.4)] == [at - began_at for at in provider.probed_at]

    run_virtual(main)


def test_a_deadline_is_no_longer_than_ten_minutes() -> None:
    """
    Where the guard has no deadline, a probe has one.
    """

    async def main() -> None:
        sink = RecordingSink()
        provider = Provider()
        provider.hangs_for = 1e9
        guard, prober = probed_guard(provider.probe, sink, timeout=None)
        opened(guard)
        async with prober:
            await anyio.sleep(661)
        assert [("timeout", "timeout")] == ended(sink)

    run_virtual(main)


def test_errors_of_the_block_go_on_as_they_are() -> None:
    """
    Not in a group, on either backend.
    """

    async def main() -> None:
        _, prober = probed_guard(Provider().probe)
        with pytest.raises(CallTimeoutError):
            async with prober:
                raise CallTimeoutError(guard="images", timeout=1.0, elapsed=1.0, receipt="clean")

    for backend in ("asyncio", "trio"):
        anyio.run(main, backend=backend)
