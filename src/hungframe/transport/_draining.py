"""
Reads to its end what is not handed on, so that its connection can carry the next attempt.

An error's body is short, and has mostly come along with its headers. Where it is
not, the connection is given up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hungframe.abort.call import enclose, leave

if TYPE_CHECKING:
    from hungframe.limits import Limits

# Bytes, and seconds.
_MOST = 65_536
_LONGEST = 0.25


def _announces_more(response: Any) -> bool:
    length = response.headers.get("content-length", "")
    return bool(length.isdecimal()) and (len(length) > len(str(_MOST)) or int(length) > _MOST)


def drained(limits: Limits, response: Any) -> bytes | None:
    """
    Read the body of *response* and close it; None if it was too long, took too long, or broke off.
    """
    began_at, body, content = limits.clock.now(), response.stream, bytearray()
    reading = enclose(limits, began_at, began_at + _LONGEST)
    try:
        if _announces_more(response):
            return None
        for chunk in body:
            content += chunk
            if len(content) > _MOST:
                return None
    except Exception:
        return None
    finally:
        try:
            body.close()
        except Exception:
            # It is given up, as it would have been.
            pass
        leave(reading)
    return bytes(content)


async def adrained(limits: Limits, response: Any) -> bytes | None:
    """
    Read the body of *response* and close it, on asyncio or trio; likewise.
    """
    began_at, body, content = limits.clock.now(), response.stream, bytearray()
    reading = enclose(limits, began_at, began_at + _LONGEST)
    chunks = body.__aiter__()
    try:
        if _announces_more(response):
            return None
        async for chunk in chunks:
            content += chunk
            if len(content) > _MOST:
                return None
    except Exception:
        return None
    finally:
        try:
            # trio complains of a generator that is left to the garbage collector.
            await chunks.aclose()
            await body.aclose()
        except Exception:
            # It is given up, as it would have been.
            pass
        leave(reading)
    return bytes(content)
