"""
The guarded transports, whatever library they are for: each has a transport of that library within.
"""

from __future__ import annotations

import functools
import time
from typing import Any

from hungframe._core import check
from hungframe.abort.backend import sleep
from hungframe.attempts import Attempts
from hungframe.errors import CallRejectedError, CallTimeoutError
from hungframe.guard import Guard
from hungframe.streams import StreamCall
from hungframe.transport import _guarded, _pool, _refusal
from hungframe.transport._async_backend import AsyncDeadlineBackend
from hungframe.transport._draining import adrained, drained
from hungframe.transport._guarded import Asked, Timeouts
from hungframe.transport._operation import current_wire
from hungframe.transport._request import MAX_RESPONSE_BYTES, Request
from hungframe.transport._sync_backend import DeadlineBackend


class Carrier:
    """
    What the sync and the async transport share.
    """

    _backend: type[DeadlineBackend | AsyncDeadlineBackend]
    # What the modules of the libraries add.
    _response: Any
    _body: Any
    _guarded_body: Any
    # A body in memory, which can be sent again.
    _bytes: Any
    _connect_timeout: type[Exception]
    _timeouts: Timeouts

    def __init__(self, inner: Any, *, guard: Guard | None, max_response_bytes: int | None) -> None:
        given: Any = guard
        if given is not None and not isinstance(given, Guard):
            raise TypeError(f"guard must be a Guard or None, got {given!r}")
        if max_response_bytes is not None:
            check.whole("max_response_bytes", max_response_bytes, at_least=1)
        self._inner = inner
        self._asked = None if guard is None else Asked(guard)
        self._name = "" if guard is None else guard.name
        self._max_response_bytes = max_response_bytes
        self._core_pool = _pool.pool_of(inner)
        if self._core_pool is not None:
            core = _pool.core_of(self._core_pool)
            _pool.use_backend(self._core_pool, self._backend(core, _pool.speaks_http2_only(self._core_pool)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._inner!r})"

    def _refused(self, refusal: CallRejectedError) -> Any:
        """
        The answer that stands for a refusal which its SDK would not let through.
        """
        headers, content = _refusal.headers_of(refusal), _refusal.content_of(refusal)
        return self._response(_refusal.STATUS, headers=headers, content=content)

    def _begin(self, request: Any) -> Request:
        return Request(self._core_pool, request, self._max_response_bytes, self._name)

    def _handed_on(self, response: Any, stream: StreamCall) -> Any:
        """
        The response as its caller gets it: what it reads is read under the guard.
        """
        if not response.is_closed:
            response.stream = self._guarded_body(response, stream, self._timeouts)
        return response

    def _kept(self, response: Any, content: bytes | None) -> Any:
        """
        A response that was read whole, which is the answer if no other attempt is let in; None if it was not.
        """
        if response.is_closed:
            return response
        if content is None:
            return None
        response.stream = self._bytes(content)
        return response


class SyncCarrier(Carrier):
    """
    Carries the requests of a sync client.
    """

    _backend = DeadlineBackend

    def handle_request(self, request: Any) -> Any:
        """
        Send *request*; return the response once its headers are there.
        """
        asked = self._asked
        if asked is None:
            return self._carry(request)
        try:
            if asked.retries and isinstance(request.stream, self._bytes):
                return self._send_until_it_is_answered(asked, request)
            return self._handed_on(*self._attempt(asked, request))
        except CallRejectedError as refusal:
            if not _refusal.must_be_an_answer(request.headers):
                raise
            answer = self._refused(refusal)
        return answer

    def _send_until_it_is_answered(self, asked: Asked, request: Any) -> Any:
        """
        Send *request* once, and again for as long as it fails and the guard's `Retry` has it sent again.
        """
        (began_at, name), now = asked.sent(), asked.limits.clock.now
        attempts: Attempts | None = None
        kept: Any = None
        response: Any = None
        stream: Any = None
        try:
            while True:
                try:
                    response, stream = self._attempt(asked, request)
                except Exception as error:
                    if kept is not None and isinstance(error, CallRejectedError):
                        # What the provider said tells more.
                        return kept
                    kept = None
                    attempts = attempts or asked.attempts(began_at, request, name)
                    seconds = attempts.failed(error)
                    if seconds is None and attempts.must_raise(error):
                        raise
                    ready_at = now() + (seconds or 0.0)
                else:
                    attempts = attempts or asked.attempts(began_at, request, name)
                    seconds = attempts.returned(response)
                    if seconds is None:
                        return self._handed_on(response, stream)
                    ready_at = now() + seconds
                    # Its status is known, and nobody waits for more of it.
                    stream.done(response)
                    kept = self._kept(response, drained(asked.limits, response))
                if seconds is None:
                    attempts.instead()
                time.sleep(max(0.0, ready_at - now()))
        finally:
            if attempts is not None:
                attempts.close()
            if name is not None:
                asked.engine.teller.next_attempt(None)
            # What this frame holds lives as long as the error that leaves it.
            del request, attempts, kept, response, stream

    def _attempt(self, asked: Asked, request: Any) -> tuple[Any, StreamCall]:
        """
        Send *request* once, as a call of its own.
        """
        stream = asked.open(request)
        try:
            response = stream.step_sync(functools.partial(self._carry, request), item=False)
        except CallTimeoutError as error:
            timed_out = self._timeouts.of(error)
        else:
            _guarded.answered(response, stream)
            return response, stream
        try:
            raise timed_out
        finally:
            del timed_out

    def _carry(self, request: Any) -> Any:
        begun = self._begin(request)
        outer = current_wire.get()
        current_wire.set(begun.wire)
        try:
            if begun.is_too_late():
                raise self._connect_timeout("the deadline of the guarded call has passed: nothing was sent")
            response = self._inner.handle_request(request)
        except BaseException:
            begun.break_off()
            _pool.close(begun.heal())
            raise
        finally:
            current_wire.set(outer)
        error = begun.answered(response)
        if error is not None:
            begun.break_off()
            response.stream.close()
            raise error
        response.stream = self._body(response.stream, begun)
        return response

    def close(self) -> None:
        """
        Close all connections.
        """
        self._inner.close()


class AsyncCarrier(Carrier):
    """
    Carries the requests of an async client.
    """

    _backend = AsyncDeadlineBackend

    async def handle_async_request(self, request: Any) -> Any:
        """
        Send *request*; return the response once its headers are there.
        """
        asked = self._asked
        if asked is None:
            return await self._carry(request)
        try:
            if asked.retries and isinstance(request.stream, self._bytes):
                return await self._send_until_it_is_answered(asked, request)
            return self._handed_on(*(await self._attempt(asked, request)))
        except CallRejectedError as refusal:
            if not _refusal.must_be_an_answer(request.headers):
                raise
            answer = self._refused(refusal)
        return answer

    async def _send_until_it_is_answered(self, asked: Asked, request: Any) -> Any:
        """
        Send *request* once, and again for as long as it fails and the guard's `Retry` has it sent again.
        """
        (began_at, name), now = asked.sent(), asked.limits.clock.now
        attempts: Attempts | None = None
        kept: Any = None
        response: Any = None
        stream: Any = None
        try:
            while True:
                try:
                    response, stream = await self._attempt(asked, request)
                except Exception as error:
                    if kept is not None and isinstance(error, CallRejectedError):
                        # What the provider said tells more.
                        return kept
                    kept = None
                    attempts = attempts or asked.attempts(began_at, request, name)
                    seconds = attempts.failed(error)
                    if seconds is None and attempts.must_raise(error):
                        raise
                    ready_at = now() + (seconds or 0.0)
                else:
                    attempts = attempts or asked.attempts(began_at, request, name)
                    seconds = attempts.returned(response)
                    if seconds is None:
                        return self._handed_on(response, stream)
                    ready_at = now() + seconds
                    # Its status is known, and nobody waits for more of it.
                    stream.done(response)
                    kept = self._kept(response, await adrained(asked.limits, response))
                if seconds is None:
                    attempts.instead()
                await sleep(max(0.0, ready_at - now()))
        finally:
            if attempts is not None:
                attempts.close()
            if name is not None:
                asked.engine.teller.next_attempt(None)
            # What this frame holds lives as long as the error that leaves it.
            del request, attempts, kept, response, stream

    async def _attempt(self, asked: Asked, request: Any) -> tuple[Any, StreamCall]:
        """
        Send *request* once, as a call of its own.
        """
        stream = await asked.aopen(request)
        try:
            response = await stream.step(self._carry(request), item=False)
        except CallTimeoutError as error:
            timed_out = self._timeouts.of(error)
        else:
            _guarded.answered(response, stream)
            return response, stream
        try:
            raise timed_out
        finally:
            del timed_out

    async def _carry(self, request: Any) -> Any:
        begun = self._begin(request)
        outer = current_wire.get()
        current_wire.set(begun.wire)
        try:
            if begun.is_too_late():
                raise self._connect_timeout("the deadline of the guarded call has passed: nothing was sent")
            response = await self._inner.handle_async_request(request)
        except BaseException:
            begun.break_off()
            _pool.close_now(begun.heal())
            raise
        finally:
            current_wire.set(outer)
        error = begun.answered(response)
        if error is not None:
            begun.break_off()
            await response.stream.aclose()
            raise error
        response.stream = self._body(response.stream, begun)
        return response

    async def aclose(self) -> None:
        """
        Close all connections.
        """
        await self._inner.aclose()


__all__ = ["MAX_RESPONSE_BYTES", "AsyncCarrier", "Carrier", "SyncCarrier"]
