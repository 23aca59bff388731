"""
What is answered to which request; the same under ASGI and under `http.server`.
"""

from __future__ import annotations

from importlib.resources import files
from urllib.parse import quote

from hungframe.health.feed import Feed
from hungframe.health.messages import MOST_BODY, Reply, Request, json_reply
from hungframe.health.operator import COOKIE, Operator

BEAT_EVERY = 5.0
"""Seconds after which a viewer is told that nothing has changed."""

# Milliseconds after which a browser asks for the stream again.
STREAM_BEGINS = b"retry: 500\n\n"

# A comment keeps proxies from closing the connection, and the page waits for the event.
BEAT = b": still here\nevent: beat\ndata: {}\n\n"

_STATIC = {
    "/page.css": "text/css; charset=utf-8",
    "/page.js": "text/javascript; charset=utf-8",
    "/card.js": "text/javascript; charset=utf-8",
    "/draw.js": "text/javascript; charset=utf-8",
    "/words.js": "text/javascript; charset=utf-8",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action {}"
)


class Routes:
    """
    Answers requests from what the feed sees.
    """

    def __init__(self, feed: Feed, operator: Operator | None) -> None:
        self.feed = feed
        self._operator = operator
        folder = files("hungframe.health") / "static"
        self._static = {path: (folder / path[1:]).read_bytes() for path in _STATIC}
        self._page = (folder / "page.html").read_text(encoding="utf-8")
        self._form = (folder / "operator.html").read_text(encoding="utf-8")
        policy = _POLICY.format("'none'" if operator is None else "'self'")
        self._always = [
            ("Cache-Control", "no-store, no-transform"),
            ("Content-Security-Policy", policy),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
        ]

    def answer(self, request: Request) -> Reply:
        """
        Answer a request; for HEAD the server leaves out the body.
        """
        reply = self._reply(request)
        headers = [*reply.headers, *self._always]
        if not reply.is_stream:
            headers.append(("Content-Length", str(len(reply.body))))
        return Reply(reply.status, headers, reply.body, reply.is_stream)

    def _reply(self, request: Request) -> Reply:
        path = request.path
        if path == "/operate" and self._operator is not None:
            if request.method != "POST":
                return _not_allowed("POST")
            if len(request.body) > MOST_BODY:
                return json_reply(413, {"error": f"the body must have at most {MOST_BODY} bytes"})
            return self._operator.act(request)
        known = path in ("", "/", "/health.json", "/events") or path in _STATIC
        if not known:
            return json_reply(404, {"error": "there are /, /health.json and /events here"})
        if request.method not in ("GET", "HEAD"):
            return _not_allowed("GET, HEAD")
        if path in _STATIC:
            return Reply(200, [("Content-Type", _STATIC[path])], self._static[path])
        if path == "/events":
            headers = [("Content-Type", "text/event-stream; charset=utf-8"), ("X-Accel-Buffering", "no")]
            return Reply(200, headers, is_stream=request.method == "GET")
        if path != "/health.json" and wants_html(request.headers.get("accept", "")):
            return self._html(request)
        view = self.feed.look()
        headers = [("Content-Type", "application/json"), ("Vary", "Accept")]
        return Reply(200 if view.ready else 503, headers, view.body)

    def _html(self, request: Request) -> Reply:
        if not request.path:
            # The page's links are relative, so that it may stand behind a proxy that takes a part of the path away.
            last = quote(request.root.rpartition("/")[2], errors="surrogatepass")
            return Reply(307, [("Location", f"{last}/"), ("Vary", "Accept")])
        headers = [("Content-Type", "text/html; charset=utf-8"), ("Vary", "Accept")]
        form = ""
        if self._operator is not None:
            nonce, proof = self._operator.new_form()
            form = self._form.replace("{proof}", proof)
            secure = "; Secure" if request.secure else ""
            cookie = f"{COOKIE}={nonce}; Path={_quoted(request.root)}/; HttpOnly; SameSite=Strict{secure}"
            headers.append(("Set-Cookie", cookie))
        return Reply(200, headers, self._page.replace("<!-- operator -->", form).encode())


def wants_html(accept: str) -> bool:
    """
    Tell whether who asks is a browser that opens a page; a probe, curl and a script are not.

    >>> wants_html("text/html,application/xhtml+xml,*/*;q=0.8"), wants_html("*/*"), wants_html("text/html;q=0, */*")
    (True, False, False)
    """
    quality: dict[str, float] = {}
    for part in accept.split(","):
        kind, *parameters = (word.strip().lower() for word in part.split(";"))
        q = next((word[2:] for word in parameters if word.startswith("q=")), "1")
        try:
            quality[kind] = float(q)
        except ValueError:
            quality[kind] = 0.0
    return quality.get("text/html", 0.0) > 0 and quality["text/html"] >= quality.get("application/json", 0.0)


def _not_allowed(methods: str) -> Reply:
    reply = json_reply(405, {"error": f"only {methods} here"})
    return Reply(405, [*reply.headers, ("Allow", methods)], reply.body)


def _quoted(path: str) -> str:
    # As a browser writes it, which compares the cookie's with that. A mount's path may come from who asks, where it has
    # parameters: so nothing in it may end a header, or a cookie's attribute, or be the scheme of another site.
    return quote(path, safe="/:@!$&'()*+,=", errors="surrogatepass")
