"""
A request's body, read as strictly as it is stored: what two readers could understand differently is refused.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

import anyio
from starlette.requests import Request

from examples.images.api.problems import ProblemError

MAX_BODY = 64 * 1024
"""Bytes. The longest prompt fits twice: as UTF-8 it always does, with each character escaped it may not."""

_ARRIVES_WITHIN = 10.0


async def read_object(request: Request) -> dict[str, Any]:
    """
    Read the body, which must be one JSON object.

    Raises:
        ProblemError: If it is something else, too large, or too slow to come. What is too large is refused
            as soon as that is known.
    """
    _check_media_type(request)
    try:
        with anyio.fail_after(_ARRIVES_WITHIN):
            body = await _read(request)
    except TimeoutError:
        detail = f"the body did not arrive within {_ARRIVES_WITHIN:g} s"
        raise ProblemError(408, detail, kind="too-slow", headers={"Connection": "close"}) from None
    return _parse(body)


def _check_media_type(request: Request) -> None:
    # Besides telling early what will not do, this keeps other sites' forms out: a browser sends this type only to
    # its own site, or where CORS allows it.
    given = request.headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() != "application/json":
        detail = f"Content-Type must be application/json, got {given[:100]!r}"
        raise ProblemError(415, detail, kind="unsupported-media-type", headers={"Accept-Post": "application/json"})
    packed = request.headers.get("content-encoding", "identity")
    if packed.strip().lower() != "identity":
        detail = f"Content-Encoding must not be given, got {packed[:100]!r}: send the body as it is"
        raise ProblemError(415, detail, kind="unsupported-media-type", headers={"Accept-Encoding": "identity"})


async def _read(request: Request) -> bytes:
    # The server holds a body to the length it announces, so that a length that is no number does not come here.
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > MAX_BODY:
        _too_large()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            _too_large()
    return bytes(body)


def _too_large() -> NoReturn:
    detail = f"the body must be at most {MAX_BODY} bytes; shorten the prompt, and write it as UTF-8 and not as escapes"
    raise ProblemError(413, detail, kind="too-large")


def _parse(body: bytes) -> dict[str, Any]:
    if not body:
        raise _not_json('the body is empty; send a JSON object such as {"prompt": "a kite over a city"}')
    try:
        document = json.loads(
            body.decode("utf-8"), object_pairs_hook=_unambiguous, parse_constant=_no_constant, parse_float=_finite
        )
    except UnicodeDecodeError as error:
        raise _not_json(f"the body must be UTF-8; byte {error.start} is none of it") from None
    except json.JSONDecodeError as error:
        raise _not_json(f"not JSON from line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise _not_json("the body is nested too deeply; what is asked for is one flat object") from None
    except ValueError as error:
        # Ours, from the hooks below, or Python's: whole numbers of more than 4,300 digits.
        raise _not_json(str(error)[:200]) from None
    if not isinstance(document, dict):
        raise _not_json(f"the body must be a JSON object, got {_name_of(document)}")
    return document


def _not_json(detail: str) -> ProblemError:
    return ProblemError(400, detail, kind="not-json")


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for name, value in pairs:
        if name in seen:
            raise ValueError(f"the name {name[:50]!r} stands twice in one object; leave one out")
        seen[name] = value
    return seen


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _finite(written: str) -> float:
    value = float(written)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {written[:50]} is too large")
    return value


def _name_of(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")
