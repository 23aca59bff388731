"""
What the queue does not take is refused before the database is asked, by name, value and what would do.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg_pool import AsyncConnectionPool

from examples.images.queue import PostgresQueue, limits
from tests.examples.images.queues import key, queue_at


def closed_pool() -> AsyncConnectionPool[Any]:
    return AsyncConnectionPool("host=nowhere.invalid", open=False)


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        ({"name": ""}, ValueError, "name must have 1 to 100 characters, not all blank, got ''"),
        ({"name": "x" * 101}, ValueError, "name must have 1 to 100 characters"),
        ({"name": 7}, TypeError, "name must be a string, got 7"),
        ({"name": "a\0b"}, ValueError, "name must hold no NUL"),
        ({"worker": " "}, ValueError, "worker must have 1 to 100 characters, not all blank, got ' '"),
        ({"lease": 0}, ValueError, "lease must be in (0, 86400], got 0"),
        ({"lease": float("nan")}, ValueError, "lease must be in (0, 86400], got nan"),
        ({"lease": True}, TypeError, "lease must be a number, got True"),
        ({"max_attempts": 0}, ValueError, "max_attempts must be in 1..1000, got 0"),
        ({"max_attempts": 2.0}, TypeError, "max_attempts must be a whole number, got 2.0"),
        ({"backoff_base": 0.0}, ValueError, "backoff_base must be in (0, 86400], got 0.0"),
        ({"backoff_base": 5.0, "backoff_cap": 4.0}, ValueError, "backoff_cap must be in [5, 604800], got 4.0"),
        ({"boost": -1}, ValueError, "boost must be in [0, 86400], got -1"),
        ({"timeout": 0.0}, ValueError, "timeout must be in [0.01, 600], got 0.0"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], error: type[Exception], message: str) -> None:
    """
    A queue with a wrong setting is not made.
    """
    with pytest.raises(error, match=re.escape(message)):
        PostgresQueue(closed_pool(), **{"name": "images", **wrong})


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        (
            {"key": b"short"},
            ValueError,
            "key must be 32 bytes, as hashlib.sha256(...).digest() gives them, got 5 bytes",
        ),
        ({"key": "x" * 32}, TypeError, "key must be 32 bytes"),
        ({"payload": []}, TypeError, "payload must be a mapping, got list"),
        ({"payload": {1: 2}}, TypeError, "payload must hold only what JSON has: a name must be a string, got 1"),
        ({"payload": {"a": b""}}, TypeError, "payload must hold only what JSON has: Object of type bytes"),
        ({"payload": {"a": float("nan")}}, ValueError, "payload must hold finite numbers"),
        ({"payload": {"a": "x\0y"}}, ValueError, "payload must hold no NUL (\\u0000), which Postgres cannot store"),
        ({"payload": {"a": "\\\0"}}, ValueError, "payload must hold no NUL"),
        ({"payload": {"\0": 1}}, ValueError, "payload must hold no NUL"),
        ({"payload": {"a": "\ud83d"}}, ValueError, "payload must hold no lone surrogate"),
        ({"payload": {"a": "x" * 262_144}}, ValueError, "payload must be at most 262,144 bytes as JSON, got 262,153"),
        ({"payload": {"a": "ü" * 131_072}}, ValueError, "payload must be at most 262,144 bytes as JSON, got 262,153"),
        ({"urgency": 10}, ValueError, "urgency must be in 0..9, got 10"),
        ({"urgency": -1}, ValueError, "urgency must be in 0..9, got -1"),
        ({"urgency": True}, TypeError, "urgency must be a whole number, got True"),
        ({"delay": -0.1}, ValueError, "delay must be in [0, 3.16224e+07], got -0.1"),
        ({"delay": float("inf")}, ValueError, "delay must be in [0, 3.16224e+07], got inf"),
    ],
)
def test_wrong_jobs_are_refused(wrong: dict[str, Any], error: type[Exception], message: str) -> None:
    """
    A wrong job is refused without a database: the pool is not even open.
    """
    queue = PostgresQueue(closed_pool(), "images")
    with pytest.raises(error, match=re.escape(message)):
        asyncio.run(queue.enqueue(**{"key": key(1), "payload": {}, **wrong}))


def test_wrong_ends_and_limits_are_refused(jobs_database: str) -> None:
    """
    So are a reason that is none, a wait that is none and a limit that is none; and the job stays as it is.
    """

    async def main() -> None:
        async with queue_at(jobs_database) as queue:
            await queue.enqueue(key(1), {})
            [claim] = await queue.claim(1)
            with pytest.raises(ValueError, match="reason must have 1 to 100 characters"):
                await queue.bury(claim, " ", "")
            with pytest.raises(ValueError, match="reason must hold no NUL"):
                await queue.fail(claim, "a\0", "")
            with pytest.raises(ValueError, match="retry_after must be in"):
                await queue.fail(claim, "a", "", -1.0)
            with pytest.raises(ValueError, match="seconds must be in"):
                await queue.snooze(claim, float("nan"))
            with pytest.raises(ValueError, match="limit must be in 0..10000, got -1"):
                await queue.claim(-1)
            with pytest.raises(ValueError, match="seconds must be in"):
                await queue.wait(-1)
            assert [] == await queue.heartbeat([claim])

    asyncio.run(main())


def test_what_the_limits_let_through_the_database_takes(jobs_database: str) -> None:
    """
    The largest payload and the oddest text that are not refused come back as they were.
    """
    odd = '\\u0000 \\\\u0000 \x01 \x7f \ufffe \U0010ffff " \\'

    async def main() -> None:
        async with queue_at(jobs_database) as queue:
            for payload in ({"a": "x" * (262_144 - 9)}, {odd: [odd, {"": odd}], "n": [0, -1.5, 10**300, True, None]}):
                await queue.enqueue(key(payload), payload)
                [claim] = await queue.claim(1)
                assert payload == claim.payload
                await queue.fail(claim, odd, odd)
                job = await queue.get(claim.id)
                assert job is not None and (odd, odd) == (job.reason, job.detail)

    asyncio.run(main())


@given(st.text(st.characters(), max_size=20))
def test_any_detail_can_be_stored(text: str) -> None:
    """
    Whatever an error says, what is kept of it can be stored; and what could be stored is kept as it is.
    """
    kept = limits.detail(text)
    assert "\0" not in kept
    kept.encode()
    assert kept == limits.detail(kept)
    if "\0" not in text and not re.search("[\ud800-\udfff]", text):
        assert text == kept
