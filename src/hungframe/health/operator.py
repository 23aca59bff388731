"""
Setting a breaker by hand over HTTP: who may, and what is done and told.

Who acts shows the operator's token with each request, in the header `Authorization: Bearer` or as a field of the
page's form. No cookie ever stands for it, so no other site can act in a browser's name; the form carries a second
proof besides (a signed double submit), and what a browser says is sent by another site is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from hungframe.events import OperatorActed
from hungframe.guard import Guard, engine_behind
from hungframe.health.feed import Feed
from hungframe.health.messages import Reply, Request, json_reply

_logger = logging.getLogger("hungframe")

COOKIE = "hungframe_form"
ACTIONS = ("force_open", "disable", "reset")
_LEAST_TOKEN = 16


class Operator:
    """
    Lets those act who know the token.

    Raises:
        TypeError: If *token* is no string.

        ValueError: If it can be guessed.
    """

    def __init__(self, feed: Feed, token: str) -> None:
        given: Any = token
        if not isinstance(given, str):
            raise TypeError(f"operator_token must be a string or None, got a {type(given).__name__}")
        if len(token) < _LEAST_TOKEN:
            raise ValueError(
                f"operator_token must have at least {_LEAST_TOKEN} characters, got {len(token)}; "
                f"make one with secrets.token_urlsafe()"
            )
        if not (token.isascii() and token.isprintable() and token == token.strip()):
            # Not repeated here: errors end up in logs.
            raise ValueError("operator_token must be printable ASCII without spaces around it: it is sent in a header")
        self._feed = feed
        self._token = _digest(token)
        # The same in each worker process of a service.
        self._key = hashlib.sha256(b"hungframe health form" + self._token).digest()

    def new_form(self) -> tuple[str, str]:
        """
        Make the two halves of a form's proof: what goes into a cookie, and what into a field.
        """
        nonce = secrets.token_hex(16)
        return nonce, self._sign(nonce)

    def act(self, request: Request) -> Reply:
        """
        Do what a request asks for, if it may.
        """
        form = _form(request)
        bearer = _bearer(request)
        # Every check is made, whatever the others say, and one answer tells of all.
        allowed = hmac.compare_digest(_digest(bearer or form.get("token", "")), self._token)
        allowed &= bearer is not None or hmac.compare_digest(
            form.get("proof", "").encode(), self._sign(_cookie(request)).encode()
        )
        allowed &= not _is_from_elsewhere(request)
        if not allowed:
            return json_reply(403, {"error": "not allowed: the operator's token is missing or wrong"})
        action, guard = form.get("action", ""), self._feed.find(form.get("guard", ""))
        if action not in ACTIONS:
            return json_reply(400, {"error": f"action must be one of {', '.join(ACTIONS)}"})
        if guard is None:
            return json_reply(404, {"error": "no guard has this id; health.json tells them"})
        try:
            self._do(guard, action, request.client)
        except TypeError as error:
            return json_reply(409, {"error": str(error)})
        self._feed.looks_again()
        if bearer is None:
            return Reply(303, [("Location", "./")])
        return json_reply(200, {"guard": form["guard"], "action": action, "state": guard.snapshot().state})

    def _do(self, guard: Guard, action: str, client: str) -> None:
        if action == "force_open":
            guard.force_open()
        elif action == "disable":
            guard.disable()
        else:
            guard.reset()
        engine = engine_behind(guard)
        if engine.sinks:
            engine.teller.tell(OperatorActed(engine.clock.wall(), guard.name, action))
        _logger.warning("guard %r: an operator at %s: %s", guard.name, client or "an unknown address", action)

    def _sign(self, nonce: str) -> str:
        return hmac.new(self._key, nonce.encode(), hashlib.sha256).hexdigest()


def _digest(token: str) -> bytes:
    # Of equal length, so that a comparison tells nothing of the token's.
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


def _bearer(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _cookie(request: Request) -> str:
    try:
        found = SimpleCookie(request.headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _form(request: Request) -> dict[str, str]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        return {}
    try:
        fields = parse_qs(request.body.decode(), max_num_fields=20)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}


def _is_from_elsewhere(request: Request) -> bool:
    """
    Tell whether a browser says that another site sends this.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("origin")
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc != request.headers.get("host")
    except ValueError:
        # No browser has sent that.
        return True
