"""
What went wrong, as application/problem+json (RFC 9457): what was wrong, where, and what would do.
"""

from __future__ import annotations

import http
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from examples.images.api.headers import ALWAYS

TYPES: Mapping[str, str] = {
    "not-json": "The body is not the JSON object that it has to be. The detail says where it ends to be one.",
    "invalid-request": "Fields are missing, unknown or out of range. `errors` names each, and says what would do.",
    "too-large": "The body is larger than any request for an image. It was not read to its end.",
    "unsupported-media-type": "Send JSON, unpacked, with the header Content-Type: application/json.",
    "too-slow": "The body did not arrive in time. Send the request again.",
    "unavailable": "What answers lies behind this service and is away. Nothing is wrong with the request: send it "
    "again after the seconds that Retry-After names. A repeated request makes no second job.",
}
"""The problems with a page of their own, `/problems/<name>`; all others are named by their status alone."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """
    What is wrong with one field, and what would do.
    """

    field: str
    detail: str


class ProblemError(Exception):
    """
    Ends a request with a problem document.

    Args:
        status: Of the response.

        detail: What is wrong this time; clients see it.

        kind: One of `TYPES`; None for a problem that its status says all about.

        errors: What is wrong with which field.

        headers: Of the response.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str | None = None,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind
        self.errors = tuple(errors)
        self.headers = dict(headers or {})


def response_of(problem: ProblemError) -> Response:
    """
    Write *problem* as a response.
    """
    document: dict[str, Any] = {
        "type": f"/problems/{problem.kind}" if problem.kind else "about:blank",
        "title": problem.kind.replace("-", " ").capitalize() if problem.kind else _phrase(problem.status),
        "status": problem.status,
        "detail": problem.detail,
    }
    if problem.errors:
        document["errors"] = [asdict(error) for error in problem.errors]
    # In ASCII, so that a lone surrogate that is quoted back does no harm.
    return Response(
        json.dumps(document),
        problem.status,
        # With the headers of all answers: that of an error of our own is sent from outside the middleware.
        {**ALWAYS, "Cache-Control": "no-store", **problem.headers},
        media_type="application/problem+json",
    )


async def on_problem(request: Request, error: Exception) -> Response:
    """
    Answer a `ProblemError`.
    """
    assert isinstance(error, ProblemError)
    return response_of(error)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """
    Answer what the router refuses: a path that is none, a method that the path does not have.
    """
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    detail = error.detail
    if error.status_code == 404:
        detail = f"nothing is at {request.url.path}"
    elif error.status_code == 405:
        detail = f"{request.url.path} does not take {request.method}; it takes {headers.get('Allow', 'other methods')}"
    return response_of(ProblemError(error.status_code, detail, headers=headers))


async def on_disconnect(request: Request, error: Exception) -> Response:
    """
    End the request of a client that hung up; nobody reads this answer.
    """
    return Response(status_code=400)


async def on_error(request: Request, error: Exception) -> Response:
    """
    Answer an error of our own without a word about it: the server's log has the traceback.
    """
    detail = "the service has failed; the error is in its log. Sending the same request again makes no second job."
    return response_of(ProblemError(500, detail))


HANDLERS = {
    ProblemError: on_problem,
    HTTPException: on_http_exception,
    ClientDisconnect: on_disconnect,
    Exception: on_error,
}


async def about(request: Request) -> Response:
    """
    GET /problems/{kind}: say in a sentence what a problem's `type` means.
    """
    kind = request.path_params["kind"]
    if kind not in TYPES:
        raise ProblemError(404, f"there is no such problem; there are {', '.join(sorted(TYPES))}")
    return PlainTextResponse(TYPES[kind] + "\n")


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Error"
