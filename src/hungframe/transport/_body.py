"""
The body of a response on its way: counted, and followed to its end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from hungframe.transport import _pool

if TYPE_CHECKING:
    from hungframe.transport._request import Request


class SyncBody:
    """
    What a sync client reads; each client's own class of streams is put beside it.
    """

    def __init__(self, stream: Any, request: Request) -> None:
        self._stream = stream
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        request = self._request
        chunks = iter(self._stream)
        while True:
            try:
                chunk = next(chunks, None)
            except BaseException:
                request.break_off()
                raise
            if chunk is None:
                request.ended()
                return
            error = request.came(chunk)
            if error is not None:
                request.break_off()
                raise error
            yield chunk

    def close(self) -> None:
        """
        Give the connection back to its pool, or close it where the body has not come to its end.
        """
        request = self._request
        try:
            self._stream.close()
        except BaseException:
            request.break_off()
            raise
        finally:
            request.ended()
            if request.is_broken:
                _pool.close(request.heal())


class AsyncBody:
    """
    What an async client reads; likewise.
    """

    def __init__(self, stream: Any, request: Request) -> None:
        self._stream = stream
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        request = self._request
        chunks = self._stream.__aiter__()
        while True:
            try:
                chunk = await anext(chunks, None)
            except BaseException:
                request.break_off()
                raise
            if chunk is None:
                request.ended()
                return
            error = request.came(chunk)
            if error is not None:
                request.break_off()
                raise error
            try:
                yield chunk
            except GeneratorExit:
                # Left early. trio complains of a generator that is left to the garbage collector.
                if hasattr(chunks, "aclose"):
                    await chunks.aclose()
                raise

    async def aclose(self) -> None:
        """
        Give the connection back to its pool, or close it where the body has not come to its end.
        """
        request = self._request
        try:
            await self._stream.aclose()
        except BaseException:
            request.break_off()
            raise
        finally:
            request.ended()
            if request.is_broken:
                _pool.close_now(request.heal())
