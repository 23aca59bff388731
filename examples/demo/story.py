"""
The script: all is well, the provider hangs, it recovers.

Both services live through it at the same time. What they do is the same; only the guarded one gets past the third act.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import openai

from examples.demo import pace
from examples.demo.lane import Lane, client_of
from examples.demo.record import CROWD, WORKERS, Counts, Record, Stopwatch
from examples.demo.screen import Screen
from hungframe import CircuitOpenError, Guard
from hungframe.events import BreakerChanged, Event
from hungframe.testing import HostileProvider, RecordingSink

CALLERS = 100
MEASURED_REFUSALS = 500
_IMAGES_EACH = 2


@dataclass(slots=True)
class Stage:
    """
    Hold what the acts share.
    """

    screen: Screen
    watch: Stopwatch
    record: Record
    guard: Guard
    guarded: Lane
    naked: Lane
    background: list[asyncio.Task[Any]] = field(default_factory=list)

    def leave_running(self, work: Coroutine[Any, Any, Any]) -> None:
        self.background.append(asyncio.ensure_future(work))

    def play(self, modes: str | list[str]) -> None:
        for lane in (self.guarded, self.naked):
            lane.provider.play(modes)


async def play(screen: Screen) -> Record:
    """
    Play the whole story, and tell it on *screen* as it happens.
    """
    record, watch, sink = Record(), Stopwatch(), RecordingSink()

    def note_state(event: Event) -> None:
        if isinstance(event, BreakerChanged):
            record.states.append((watch.now(), event.state))

    guard = Guard(
        "openai-images",
        breaker=pace.breaker(),
        timeout=pace.timeout(),
        sinks=[sink, note_state],
        enabled=True,  # The demo is about the breaker, whatever GEN_BREAKER_ENABLED says.
    )
    record.states.append((watch.now(), guard.snapshot().state))
    with HostileProvider() as of_guarded, HostileProvider() as of_naked:
        async with _client(of_guarded) as client, _client(of_naked) as naked_client:
            guarded = Lane(watch, of_guarded, client, guard)
            naked = Lane(watch, of_naked, naked_client)
            stage = Stage(screen, watch, record, guard, guarded, naked)
            record.guarded, record.naked = guarded.record, naked.record
            with screen.strip(record, guard, watch):
                for act in (_all_is_well, _it_hangs, _refusals, _half_open, _well_again):
                    await act(stage)
                await _cut_off(stage)
        for lane in (guarded, naked):
            lane.record.left_open = not await asyncio.to_thread(lane.provider.wait_closed, 5.0)
    record.events = tuple(sink.events)
    record.snapshot = guard.snapshot()
    record.tasks_left = len(asyncio.all_tasks()) - 1
    return record


@asynccontextmanager
async def _client(provider: HostileProvider) -> AsyncGenerator[openai.AsyncOpenAI, None]:
    client = client_of(provider)
    try:
        yield client
    finally:
        await client.close()


async def _all_is_well(stage: Stage) -> None:
    stage.screen.act(1, "The provider is well")
    stage.play(pace.takes(*pace.FIRST_IMAGES))
    await asyncio.gather(*(lane.work(WORKERS, _IMAGES_EACH) for lane in (stage.guarded, stage.naked)))
    for service, lane in (("with hungframe", stage.guarded), ("without", stage.naked)):
        stage.screen.drawn(stage.watch.now(), service, lane.record.ended("answered"))


async def _it_hangs(stage: Stage) -> None:
    stage.screen.act(2, "The provider hangs: it reads each request, and never answers")
    stage.play("silent")
    stage.record.hung_at = stage.watch.now()
    stage.leave_running(stage.naked.ask_all(WORKERS))
    calls = await stage.guarded.ask_all(WORKERS)
    for call in calls:
        stage.screen.ended(call)
    stage.screen.where_it_hung(calls)
    # The sockets were closed by now; that the other side sees it may take a moment.
    await asyncio.to_thread(stage.guarded.provider.wait_closed, 5.0)
    stage.guarded.record.when_hung = Counts.of(stage.guarded.provider)
    stage.naked.record.when_hung = Counts.of(stage.naked.provider)
    snapshot = stage.guard.snapshot()
    at = stage.watch.now()
    stage.screen.opened(at, snapshot.state, snapshot.failure_rate)
    stage.screen.compare_connections(at, stage.guarded.record, stage.naked.record)


async def _refusals(stage: Stage) -> None:
    stage.screen.act(3, "Nobody else walks into the same hang")
    for call in (await stage.guarded.ask_all(WORKERS))[:1]:
        stage.screen.ended(call)
    stage.record.refused_at = stage.watch.now()
    for _ in range(MEASURED_REFUSALS):
        began = time.perf_counter()
        try:
            await stage.guarded.draw("a cat in a spacesuit")
        except CircuitOpenError:
            stage.record.refusals.append(time.perf_counter() - began)
    stage.screen.measured(stage.watch.now(), stage.record)
    stage.guarded.record.before_crowd = Counts.of(stage.guarded.provider)
    # Still open: the provider recovers, and nobody can know yet.
    await asyncio.sleep(pace.here(pace.PRODUCTION_OPEN_FOR) / 2)
    stage.play(pace.takes(pace.PROBE_IMAGE))
    stage.record.well_at = stage.watch.now()
    stage.screen.say(stage.record.well_at, "the provider is well again; nobody has told the services", "plain")


async def _half_open(stage: Stage) -> None:
    stage.screen.act(4, f"Half-open: {CALLERS} callers at once, in both services")
    await _until_a_probe_is_due(stage.guard)
    calls = [asyncio.ensure_future(stage.guarded.ask(CROWD)) for _ in range(CALLERS)]
    for ended, call in enumerate(asyncio.as_completed(calls), start=1):
        await call
        if ended == CALLERS - 1:
            stage.screen.crowd_with(stage.watch.now(), stage.record)
            await _crowd_without(stage)
    stage.screen.green(stage.watch.now(), 1, stage.guard.snapshot().state)
    for green in range(2, pace.GREENS + 1):
        await _until_a_probe_is_due(stage.guard)
        await stage.guarded.ask_all(WORKERS)
        stage.screen.green(stage.watch.now(), green, stage.guard.snapshot().state)


async def _crowd_without(stage: Stage) -> None:
    for _ in range(CALLERS):
        stage.leave_running(stage.naked.ask(CROWD))
        # A turn for the other service: to build a hundred requests in one go takes longer than a refusal.
        await asyncio.sleep(0)
    stage.screen.crowd_without(stage.watch.now(), stage.record)


async def _until_a_probe_is_due(guard: Guard) -> None:
    while after := guard.snapshot().retry_after:  # noqa: ASYNC110  # A timer may fire a little early.
        await asyncio.sleep(after)


async def _well_again(stage: Stage) -> None:
    stage.screen.act(5, "Business as usual, for one of the two")
    stage.play(pace.takes(*pace.LAST_IMAGES))
    before = len(stage.guarded.record.calls)
    await stage.guarded.work(WORKERS, _IMAGES_EACH)
    drawn = [call for call in stage.guarded.record.calls[before:] if call.outcome == "answered"]
    stage.screen.drawn(stage.watch.now(), "with hungframe", drawn)


async def _cut_off(stage: Stage) -> None:
    """
    End what still hangs: else the demo would take as long as it does.
    """
    for lane in (stage.guarded, stage.naked):
        lane.record.at_the_end = Counts.of(lane.provider)
    stage.record.cut_at = stage.watch.now()
    stage.screen.cut_off(stage.record)
    for task in stage.background:
        task.cancel()
    await asyncio.gather(*stage.background, return_exceptions=True)
