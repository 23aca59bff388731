"""
The stream tells each viewer how the guards stand, at most four times a second, and holds on to nobody.
"""

from __future__ import annotations

import gc
import itertools
import time
from typing import Any

import anyio
import pytest

from hungframe import Guard
from hungframe.health import app, asgi, routes
from tests.health.asking import on_each_backend, watching


@on_each_backend
def test_tells_what_changes(backend: str) -> None:
    """
    At once how it stands, then each change; in between nothing.
    """

    async def main() -> None:
        guard = Guard("images")
        async with watching(app(guard)) as viewer:
            await viewer.until(lambda: viewer.states())
            assert b"retry: " in viewer.messages[0]
            await anyio.sleep(0.6)
            assert 1 == len(viewer.messages)
            guard.force_open()
            await viewer.until(lambda: len(viewer.states()) == 2)
            assert ["closed", "forced_open"] == [document["guards"][0]["state"] for document in viewer.states()]
            assert "breaker.state" == viewer.states()[-1]["guards"][0]["events"][-1]["evt"]

    anyio.run(main, backend=backend)


def test_a_thousand_events_a_second() -> None:
    """
    Are told four times a second, in messages that do not grow.
    """

    async def main() -> None:
        guard = Guard("images")
        async with watching(app(guard)) as viewer:
            await viewer.until(lambda: viewer.states())
            begun = time.monotonic()
            while time.monotonic() - begun < 1.0:
                for _ in range(5):
                    guard.using(isolate=None).call(str)
                await anyio.sleep(0.005)
            assert 3 <= len(viewer.messages) <= 6
            assert max(map(len, viewer.messages)) < 12_000

    anyio.run(main)


@on_each_backend
def test_a_viewer_who_leaves_is_forgotten(backend: str) -> None:
    """
    Whether the server says that it has gone, or cannot send to it any more.
    """

    async def main() -> None:
        page = app(Guard("images"))
        async with watching(page) as viewer:
            await viewer.until(lambda: page.viewers == 1)
            viewer.leave()
            await viewer.until(lambda: viewer.ended, within=0.2)

        async def broken() -> None:
            raise OSError("broken pipe")

        async with watching(page) as viewer:
            viewer.before_send = broken
            await viewer.until(lambda: viewer.ended)
        assert 0 == page.viewers

    anyio.run(main, backend=backend)


def test_a_slow_viewer_gets_the_latest() -> None:
    """
    Who takes long for a message misses those between, and holds up nobody.
    """

    async def main() -> None:
        guard = Guard("images")
        page = app(guard)

        async def slowly() -> None:
            await anyio.sleep(0.5)

        async with watching(page) as slow, watching(page) as quick:
            await quick.until(lambda: slow.states() and quick.states())
            slow.before_send = slowly
            for _ in range(6):
                guard.call(str)
                await anyio.sleep(0.15)
            guard.force_open()
            await slow.until(lambda: slow.states()[-1]["guards"][0]["state"] == "forced_open")
            assert len(slow.states()) < len(quick.states())
            assert 6 == slow.states()[-1]["guards"][0]["counts"]["success"]

    anyio.run(main)


def test_snapshots_do_not_multiply(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Fifty viewers cost one look a quarter of a second; and when they have gone nothing of them stays.
    """
    guard = Guard("images")
    page = app(guard)
    looks = []
    write = page._feed._write

    def counted() -> Any:
        looks.append(time.monotonic())
        return write()

    monkeypatch.setattr(page._feed, "_write", counted)

    async def main() -> None:
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                async with watching(page) as viewer:
                    await viewer.until(lambda: viewer.states())
                    await anyio.sleep(0.8)

            for _ in range(50):
                group.start_soon(watch)
        assert 0 == page.viewers

    anyio.run(main)
    gc.collect()

    assert len(looks) <= 7
    assert all(after - before >= 0.249 for before, after in itertools.pairwise(looks))


@pytest.mark.parametrize("how", ["lifespan", "close", "uvicorn"])
@on_each_backend
def test_ends_with_the_server(how: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    By the lifespan's end, by `close()`, and where uvicorn waits for its streams before it tells anybody.
    """

    async def main() -> None:
        page = app(Guard("images"))
        async with watching(page) as viewer:
            await viewer.until(lambda: page.viewers == 1)
            if how == "close":
                page.close()
            elif how == "uvicorn":
                monkeypatch.setattr(asgi, "_server_stops", lambda: True)
            else:
                messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
                told = []

                async def receive() -> Any:
                    return messages.pop(0)

                async def send(message: Any) -> None:
                    told.append(message["type"])

                await page({"type": "lifespan"}, receive, send)
                assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == told
            await viewer.until(lambda: viewer.ended, within=1.0)

    anyio.run(main, backend=backend)


def test_beats_and_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where nothing changes a comment and an event keep the connection alive; and no stream lasts for ever, as not every
    server tells when it stops.
    """
    monkeypatch.setattr(asgi, "BEAT_EVERY", 0.2)
    monkeypatch.setattr(asgi, "_STREAM_FOR", 0.9)

    async def main() -> None:
        async with watching(app(Guard("images")), headers={"last-event-id": "not a number"}) as viewer:
            await viewer.until(lambda: viewer.ended, within=3.0)
            assert routes.BEAT in viewer.messages[1:]
            assert 1 == len(viewer.states())

    anyio.run(main)
