"""
How a refusal of the guard in a client reaches the caller through an SDK.

An SDK of the Stainless family retries whatever its client raises, a refusal
too, and makes a lost connection of it (anthropic, groq); openai hands on what
it does not know. What none of them retries is an answer that says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from hungframe.errors import CallRejectedError

STATUS = 503


def must_be_an_answer(headers: Mapping[str, str]) -> bool:
    """
    Tell from a request's headers whether its SDK would retry an exception that it does not know.
    """
    return "x-stainless-lang" in headers and "OpenAI/" not in headers.get("user-agent", "")


def headers_of(refusal: CallRejectedError) -> dict[str, str]:
    """
    The headers of the answer that stands for *refusal*.
    """
    headers = {"content-type": "application/json", "x-should-retry": "false"}
    if refusal.retry_after is not None and refusal.retry_after < math.inf:
        headers["retry-after"] = str(math.ceil(refusal.retry_after))
    return headers


def content_of(refusal: CallRejectedError) -> bytes:
    """
    Its body, in the shape in which these SDKs look for a message.
    """
    return json.dumps({"type": "error", "error": {"type": type(refusal).__name__, "message": str(refusal)}}).encode()
