"""
The guarded transports, whatever library they are for: each has a transport of that library within.
"""

from __future__ import annotations

import functools
from typing import Any

from hungframe._core import check
from hungframe.errors import CallRejectedError, CallTimeoutError
from hungframe.guard import Guard
from hungframe.transport import _guarded, _pool, _refusal
from hungframe.transport._async_backend import AsyncDeadlineBackend
from hungframe.transport._guarded import Timeouts
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
    _connect_timeout: type[Exception]
    _timeouts: Timeouts

    def __init__(self, inner: Any, *, guard: Guard | None, max_response_bytes: int | None) -> None:
        given: Any = guard
        if given is not None and not isinstance(given, Guard):
            raise TypeError(f"guard must be a Guard or None, got {given!r}")
        if max_response_bytes is not None:
            check.whole("max_response_bytes", max_response_bytes, at_least=1)
        self._inner = inner
        # The deadline is on the wire: a sync request needs no thread.
        self._guard = None if guard is None else guard.using(isolate=None)
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
        name = "" if self._guard is None else self._guard.name
        return Request(self._core_pool, request, self._max_response_bytes, name)


class SyncCarrier(Carrier):
    """
    Carries the requests of a sync client.
    """

    _backend = DeadlineBackend

    def handle_request(self, request: Any) -> Any:
        """
        Send *request*; return the response once its headers are there.
        """
        guard = self._guard
        if guard is None:
            return self._carry(request)
        stream = _guarded.opened(guard, request)
        if isinstance(stream, CallRejectedError):
            return self._refused(stream)
        try:
            response = stream.step_sync(functools.partial(self._carry, request), item=False)
        except CallTimeoutError as error:
            timed_out = self._timeouts.of(error)
        else:
            if not _guarded.answered(guard, response, stream):
                response.stream = self._guarded_body(response, stream, self._timeouts)
            return response
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
        guard = self._guard
        if guard is None:
            return await self._carry(request)
        stream = _guarded.opened(guard, request)
        if isinstance(stream, CallRejectedError):
            return self._refused(stream)
        try:
            response = await stream.step(self._carry(request), item=False)
        except CallTimeoutError as error:
            timed_out = self._timeouts.of(error)
        else:
            if not _guarded.answered(guard, response, stream):
                response.stream = self._guarded_body(response, stream, self._timeouts)
            return response
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
