"""
The page and what belongs to it: the files in `page/`, as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from examples.images.api.conditional import answer

_FOLDER = Path(__file__).with_name("page")

_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def page_routes(image_sources: Collection[str]) -> list[Route]:
    """
    Serve each file, which is read once.

    Args:
        image_sources: Origins besides our own from which frames may be shown.
    """
    files = sorted(file for file in _FOLDER.iterdir() if file.suffix in _MEDIA_TYPES)
    return [
        Route("/" if file.name == "page.html" else f"/page/{file.name}", _endpoint(file, policy(image_sources)))
        for file in files
    ]


def policy(image_sources: Collection[str]) -> str:
    """
    Write the page's Content-Security-Policy: it loads its own files, asks its own server, and runs no other script.

    Raises:
        ValueError: If one of *image_sources* is no plain origin: it could end the directive it stands in.
    """
    for source in image_sources:
        if not source.startswith(("https://", "http://")) or any(c in source for c in " ;,'\"\t\r\n"):
            raise ValueError(f"image_sources must be origins such as https://cdn.example.com, got {source!r}")
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            " ".join(["img-src 'self'", *image_sources]),
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ]
    )


def _endpoint(file: Path, content_security_policy: str) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    content = file.read_bytes()
    media_type = _MEDIA_TYPES[file.suffix]
    # Asked for anew each time, and sent only when it is another: a new release is seen at once.
    headers = {"Cache-Control": "no-cache"}
    if file.suffix == ".html":
        headers["Content-Security-Policy"] = content_security_policy

    async def get(request: Request) -> Response:
        return answer(request, content, media_type, headers)

    return get
