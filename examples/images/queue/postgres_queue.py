"""
The queue: each method is one short statement, or one short transaction, over a connection of the pool.

No connection is held while a job runs. Whatever is cancelled, cut off or too slow gives its connection back; whether
its statement took effect is unknown then, and the lease settles it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar
from uuid import UUID

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from . import limits, statements
from .completing import Completing, Fenced
from .database import Database, Row
from .errors import LeaseLostError
from .listener import Listener
from .values import Claim, Enqueued, Job

logger = logging.getLogger(__name__)

FencedT = TypeVar("FencedT", bound=Fenced)

_BATCH = 1000
"""Rows that one statement of the reaper, or of what promotes, may lock at once."""


class PostgresQueue:
    """
    One queue in the table `jobs`, for producers and consumers alike. A job runs at least once, and ends once.

    **Order.** A job's rank is `run_at - urgency x boost`, the instant it asked to be run at, moved to the past by what
    urgency is worth; the smallest is served first. It does not change while a job waits, so nothing starves: a job of
    urgency 0 is served before every job, however urgent, that comes more than `9 x boost` after it. With the default of
    60 s it waits for its elders, for the urgent ones of the next nine minutes, and for no others. A snoozed job keeps
    its rank, one that failed gets a new one. Every process needs the same *boost*.

    **Leases.** A claim holds for *lease* seconds and from each heartbeat on for as long again. After that `reap` may
    give the job to somebody else; until it does, the claim still holds. Each claim has a token of its own, and whoever
    ends a job has to show it.

    **Idempotency.** A key is a job's for ever: enqueued again, the same job comes back, whatever has become of it.

    Args:
        pool: Of psycopg connections, opened and closed by whoever made it, and read committed, as is the default. Best
            with `kwargs={"autocommit": True}`, which saves two round trips a call, and with `tcp_user_timeout` in its
            conninfo, which ends what a network without an answer would hold up.

        name: Of the queue, 1 to 100 characters.

        worker: Who claims, as `Job.worker` and the reaper's dead letters tell.

        lease: Seconds that a claim holds without a heartbeat, above 0. A third of it is a good pace for heartbeats.

        max_attempts: How often a job is tried, 1 or more; kept with each job that is enqueued here.

        backoff_base: Seconds; the n-th failure waits between 0 and `base x 2 ** (n - 1)` (full jitter), above 0.

        backoff_cap: Seconds that a backoff does not exceed, *backoff_base* or more.

        boost: Seconds that each step of urgency is worth, 0 or more.

        timeout: Seconds that a call, and each statement of it, may take; then it is cancelled at the server too.

        lease_lost: Makes the error for a claim that is no longer one, from its message. Give the class that your
            workers catch, so that they need not know this package.

    Raises:
        TypeError: If an argument is of the wrong kind.

        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        pool: AsyncConnectionPool[Any],
        name: str,
        *,
        worker: str = "anonymous",
        lease: float = 30.0,
        max_attempts: int = 5,
        backoff_base: float = 2.0,
        backoff_cap: float = 300.0,
        boost: float = 60.0,
        timeout: float = 5.0,
        lease_lost: Callable[[str], Exception] = LeaseLostError,
    ) -> None:
        self.name = limits.text("name", name)
        self.worker = limits.text("worker", worker)
        self.lease = limits.number("lease", lease, above=0, at_most=86_400)
        self._max_attempts = limits.whole("max_attempts", max_attempts, at_least=1, at_most=1000)
        self._backoff_base = limits.number("backoff_base", backoff_base, above=0, at_most=86_400)
        self._backoff_cap = limits.number("backoff_cap", backoff_cap, at_least=backoff_base, at_most=7 * 86_400)
        self._boost = limits.number("boost", boost, at_most=86_400)
        timeout = limits.number("timeout", timeout, at_least=0.01, at_most=600)
        self._lease_lost = lease_lost
        self._database = Database(pool, self.name, timeout)
        self._listener = Listener(pool, self.name)
        # How much had been heard when a claim began that then found too little: all of that has been looked at.
        self._looked_at = 0
        self._returning: set[asyncio.Task[None]] = set()

    # --- the producer's -----------------------------------------------------------------------------------------------

    async def enqueue(
        self, key: bytes, payload: Mapping[str, Any], *, urgency: int = 0, delay: float = 0.0
    ) -> Enqueued:
        """
        Add a job, or find the one that has this key, which stays as it is: a dead one stays dead.

        Args:
            key: What makes two jobs the same one, 32 bytes: a SHA-256.

            payload: What the worker needs to know, as JSON at most 256 kB.

            urgency: 0 to 9, the most urgent.

            delay: Seconds until it may be taken.

        Raises:
            TypeError: If an argument is of the wrong kind.

            ValueError: If an argument is out of range, or holds what Postgres cannot store.
        """
        [row] = await self._database.rows(
            "enqueue",
            statements.ENQUEUE,
            {
                "key": limits.key(key),
                "payload": limits.payload(payload),
                "urgency": limits.whole("urgency", urgency, at_least=0, at_most=limits.MOST_URGENT),
                "delay": limits.number("delay", delay, at_most=limits.LONGEST_DELAY),
                "max_attempts": self._max_attempts,
                "boost": self._boost,
            },
        )
        return Enqueued(id=row["id"], created=row["created"])

    async def get(self, job_id: UUID) -> Job | None:
        """
        Find a job of this queue.
        """
        rows = await self._database.rows("get", statements.GET, {"id": job_id})
        return Job(**rows[0]) if rows else None

    async def counts(self) -> dict[str, int]:
        """
        Count the jobs of each state, "queued", "running", "done" and "dead". It reads them all: not for each request.
        """
        found = {row["state"]: row["jobs"] for row in await self._database.rows("counts", statements.COUNTS, {})}
        return {state: found.get(state, 0) for state in ("queued", "running", "done", "dead")}

    async def oldest_age(self) -> float | None:
        """
        Tell for how many seconds the job that waits longest could have been taken; None: none waits.
        """
        age: float | None = (await self._database.rows("oldest_age", statements.OLDEST_AGE, {}))[0]["age"]
        return age

    # --- the consumer's -----------------------------------------------------------------------------------------------

    async def claim(self, limit: int) -> list[Claim]:
        """
        Lease at most *limit* jobs, the smallest rank first, and none that waits for its time; each has an attempt more.

        When it is cancelled, what it could not hand over is given back in the background, and counts as no attempt.
        """
        limits.whole("limit", limit, at_least=0, at_most=10_000)
        if limit == 0:
            return []
        claiming = asyncio.ensure_future(self._claim(limit))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            returning = asyncio.create_task(self._give_back(claiming))
            self._returning.add(returning)
            returning.add_done_callback(self._returning.discard)
            raise

    async def heartbeat(self, claims: Sequence[FencedT]) -> list[FencedT]:
        """
        Prolong the leases, in one statement; the claims that were lost come back.
        """
        if not claims:
            return []
        rows = await self._database.rows(
            "heartbeat",
            statements.HEARTBEAT,
            {
                "ids": [claim.id for claim in claims],
                "tokens": [claim.token for claim in claims],
                "lease": self.lease,
            },
        )
        lost = {row["token"] for row in rows}
        return [claim for claim in claims if claim.token in lost]

    def completing(self, claim: Fenced) -> AbstractAsyncContextManager[AsyncConnection[Any]]:
        """
        One transaction in which the job is done when the block is left; the block gets its connection.

        If the block raises or is cancelled, all is rolled back, and the claim still holds. If the connection breaks in
        COMMIT, nobody can say whether it took effect: either all of it did, or nothing.

        Raises:
            LeaseLostError: Before the block runs, if the job is not this claim's any more.
        """
        return Completing(self._database, claim, self._lost)

    async def fail(self, claim: Fenced, reason: str, detail: str, retry_after: float | None = None) -> str:
        """
        Try again after the backoff, or bury it when its attempts are used up: returns "queued" or "dead".

        A dead one has the reason "attempts-exhausted", and in its detail the reason given here.

        Args:
            claim: The claim.

            reason: In one word, for dead letters and metrics.

            detail: For people; what is beyond 2,000 characters is cut off.

            retry_after: Seconds that the provider asked for, on top of which the backoff comes.

        Raises:
            LeaseLostError: If the job is not this claim's any more.
        """
        row = await self._end(
            "fail",
            statements.FAIL,
            claim,
            {
                "reason": limits.text("reason", reason),
                "detail": limits.detail(detail),
                "retry_after": limits.number("retry_after", retry_after or 0.0, at_most=limits.LONGEST_DELAY),
                "backoff_base": self._backoff_base,
                "backoff_cap": self._backoff_cap,
                "boost": self._boost,
            },
        )
        state: str = row["state"]
        return state

    async def bury(self, claim: Fenced, reason: str, detail: str) -> None:
        """
        Make it a dead letter: nobody but an operator takes it out again, with `requeue`.

        Raises:
            LeaseLostError: If the job is not this claim's any more.
        """
        told = {"reason": limits.text("reason", reason), "detail": limits.detail(detail)}
        await self._end("bury", statements.BURY, claim, told)

    async def snooze(self, claim: Fenced, seconds: float) -> None:
        """
        Give it back, to be taken after *seconds*; the attempt does not count, and its place in the line stays.

        Raises:
            LeaseLostError: If the job is not this claim's any more.
        """
        given = limits.number("seconds", seconds, at_most=limits.LONGEST_DELAY)
        await self._end("snooze", statements.SNOOZE, claim, {"seconds": given})

    async def reap(self, on_dead: Callable[[UUID], object] | None = None) -> int:
        """
        Give back what dead workers hold, or bury it as "worker-died" when its attempts are used up; returns how many.

        Any number of processes may do so at once.

        Args:
            on_dead: Called with the id of each job that was buried, once it is.
        """
        total = 0
        while True:
            [row] = await self._database.rows("reap", statements.REAP, {"batch": _BATCH})
            reaped: int = row["reaped"]
            total += reaped
            for job_id in row["dead"] or ():
                if on_dead is not None:
                    on_dead(job_id)
            if reaped < _BATCH:
                return total

    async def wait(self, seconds: float) -> bool:
        """
        Wait until there may be a job, at most *seconds*; returns whether one was announced since `claim` last looked.

        It never raises because of the database. When it cannot listen it returns False after *seconds*, so that the
        caller polls.
        """
        return await self._listener.wait(
            limits.number("seconds", seconds, at_most=limits.LONGEST_DELAY), beyond=self._looked_at
        )

    # --- the operator's -----------------------------------------------------------------------------------------------

    async def requeue(self, job_id: UUID) -> bool:
        """
        Take a dead letter out, with all its attempts anew; returns False if there is no such dead letter.
        """
        return bool(await self._database.rows("requeue", statements.REQUEUE, {"id": job_id, "boost": self._boost}))

    async def close(self) -> None:
        """
        End the listening, and wait for what is being given back. The pool stays open. Harmless when called again.
        """
        await self._listener.close()
        if self._returning:
            await asyncio.wait(self._returning)

    # --- how ----------------------------------------------------------------------------------------------------------

    async def _claim(self, limit: int) -> list[Claim]:
        heard = self._listener.heard
        parameters = {"limit": limit, "batch": _BATCH, "worker": self.worker, "lease": self.lease}

        async def picked(connection: AsyncConnection[Any], promoted: bool) -> tuple[bool, list[Row]]:
            rows = await self._database.execute(
                connection, statements.claim(limit), {**parameters, "promoted": promoted}
            )
            # There is a row also where there is no job: for whether anything is due.
            is_due = [row.pop("is_due") for row in rows]
            return is_due[0], [row for row in rows if row["id"] is not None]

        async def in_order(connection: AsyncConnection[Any]) -> list[Row]:
            is_due, rows = await picked(connection, promoted=False)
            if is_due:
                await self._database.execute(connection, statements.PROMOTE, parameters)
                _, rows = await picked(connection, promoted=True)
            return rows

        claims = [Claim(**row) for row in await self._database.connected("claim", in_order)]
        if len(claims) < limit:
            self._looked_at = max(self._looked_at, heard)
        return claims

    async def _give_back(self, claiming: asyncio.Future[list[Claim]]) -> None:
        """
        Give back what was claimed for somebody who is gone. Where that fails, the reaper does it.
        """
        await asyncio.wait([claiming])
        if claiming.cancelled() or claiming.exception():
            return
        for claim in claiming.result():
            try:
                await self.snooze(claim, 0.0)
            except Exception as error:
                logger.warning("queue %r: job %s was claimed for nobody: %s", self.name, claim.id, error)

    async def _end(self, doing: str, statement: bytes, claim: Fenced, parameters: Mapping[str, Any]) -> Row:
        """
        Run a statement that finds one row: the job, if it is still the claim's.
        """
        rows = await self._database.rows(doing, statement, {"id": claim.id, "token": claim.token, **parameters})
        if not rows:
            raise self._lost(claim)
        return rows[0]

    def _lost(self, claim: Fenced) -> Exception:
        return self._lease_lost(
            f"queue {self.name!r}: job {claim.id} is not leased with token {claim.token} any more; store nothing for it"
        )
