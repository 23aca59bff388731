"""
On real sockets: by itself under uvicorn and hypercorn, and mounted in Starlette, FastAPI and Django.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import anyio
import pytest

from hungframe import Guard
from hungframe.health import app
from tests.health.serving import served

MOUNT = "/internal/gen-health"
HTML = {"Accept": "text/html"}


def get(port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    """
    Ask once, and follow nothing.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def first_state(port: int, path: str) -> Any:
    """
    Open the stream, read one state, and leave.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        assert 200 == answer.status
        for line in answer:
            if line.startswith(b"data: {"):
                return json.loads(line[6:])
        raise AssertionError("the stream ended")
    finally:
        connection.close()


def check_mounted(port: int, mount: str = MOUNT) -> None:
    """
    All of it is there, below the mount and nowhere else.
    """
    status, headers, body = get(port, f"{mount}/", HTML)
    assert 200 == status and b"<main" in body and "script-src 'self'" in headers["content-security-policy"]
    for path in ("page.css", "page.js", "card.js", "draw.js", "words.js", "health.json"):
        assert 200 == get(port, f"{mount}/{path}")[0]
    assert "images" == json.loads(get(port, f"{mount}/")[2])["guards"][0]["name"]
    assert "images" == first_state(port, f"{mount}/events")["guards"][0]["name"]
    assert 404 == get(port, f"{mount}/nowhere")[0]


def test_by_itself_under_uvicorn() -> None:
    """
    At the root, with its lifespan; who leaves the stream is forgotten.
    """
    page = app(Guard("images"))
    with served(page) as port:
        check_mounted(port, "")
        ends_at = time.monotonic() + 2
        while page.viewers:
            assert time.monotonic() < ends_at
            time.sleep(0.01)


def test_in_starlette() -> None:
    """
    `Mount`, which leaves the path whole and sends a path without the slash on.
    """
    starlette = pytest.importorskip("starlette.applications", reason="starlette is not installed")
    from starlette.routing import Mount

    with served(starlette.Starlette(routes=[Mount(MOUNT, app(Guard("images")))])) as port:
        check_mounted(port)
        assert 307 == get(port, MOUNT, HTML)[0]


def test_in_fastapi() -> None:
    """
    `mount`; the application's own routes are as they were.
    """
    fastapi = pytest.importorskip("fastapi", reason="fastapi is not installed")
    service = fastapi.FastAPI()
    service.mount(MOUNT, app(Guard("images")))
    service.get("/")(lambda: {"hello": "world"})

    with served(service) as port:
        check_mounted(port)
        assert b'{"hello":"world"}' == get(port, "/")[2]


def test_in_django() -> None:
    """
    Beside Django's own application, as its asgi.py has it.
    """
    pytest.importorskip("django", reason="django is not installed")
    from django.conf import settings

    if not settings.configured:
        settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="for this test", LOGGING_CONFIG=None)
    import django
    from django.core.asgi import get_asgi_application

    django.setup()
    pages = get_asgi_application()
    health = app(Guard("images"))

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and f"{scope['path']}/".startswith(f"{MOUNT}/"):
            await health({**scope, "root_path": MOUNT}, receive, send)
        else:
            await pages(scope, receive, send)

    with served(application) as port:
        check_mounted(port)
        assert (200, b"Django's own") == get(port, "/")[::2]
        assert (307, "gen-health/") == ((sent := get(port, MOUNT, HTML))[0], sent[1]["location"])


def own_page(request: Any) -> Any:
    """
    A view of the Django project beside.
    """
    from django.http import HttpResponse

    return HttpResponse("Django's own")


def __getattr__(name: str) -> Any:
    # This module is the project's URLconf, too, which Django must be there for.
    if name == "urlpatterns":
        from django.urls import path

        return [path("", own_page)]
    raise AttributeError(name)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_under_hypercorn(backend: str) -> None:
    """
    A server that runs on trio, too; it stops with a stream open.
    """
    pytest.importorskip("hypercorn", reason="hypercorn is not installed")
    from hypercorn.config import Config

    if backend == "trio":
        from hypercorn.trio import serve
    else:
        from hypercorn.asyncio import serve  # type: ignore[assignment]
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.graceful_timeout = 0.5
    config.errorlog = None
    page: Any = app(Guard("images"))

    async def main() -> None:
        import socket

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        config.bind = [f"127.0.0.1:{port}"]
        stop = anyio.Event()
        async with anyio.create_task_group() as group:

            async def run() -> None:
                await serve(page, config, shutdown_trigger=stop.wait)

            group.start_soon(run)
            with anyio.fail_after(5):
                while True:
                    try:
                        state = await anyio.to_thread.run_sync(first_state, port, "/events")
                        break
                    except ConnectionRefusedError:
                        await anyio.sleep(0.02)
            assert "images" == state["guards"][0]["name"]
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await stream.send(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
                await stream.receive()
                stop.set()
                with anyio.fail_after(3):
                    while page.viewers:
                        await anyio.sleep(0.02)

    anyio.run(main, backend=backend)


SERVICE = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from hungframe import Guard
from hungframe.health import app
from tests.health.serving import served

service = Starlette(routes=[Mount("/health", app(Guard("images")))])
uvicorn.run(service, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to stop a process by")
def test_a_service_stops_with_a_page_open() -> None:
    """
    uvicorn waits for its streams, and a mounted application hears nothing of that: the stream ends all the same.
    """
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    pytest.importorskip("starlette", reason="starlette is not installed")
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    source = os.pathsep.join(path for path in sys.path if path)
    process = subprocess.Popen([sys.executable, "-c", SERVICE, str(port)], env={**os.environ, "PYTHONPATH": source})
    try:
        ends_at = time.monotonic() + 15
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                connection.request("GET", "/health/events")
                break
            except ConnectionRefusedError:
                connection.close()
                assert time.monotonic() < ends_at and process.poll() is None
                time.sleep(0.02)
        answer = connection.getresponse()
        assert b"retry" in answer.readline()
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        answer.read()
        process.wait(5)
        assert time.monotonic() - begun < 2.0
        connection.close()
    finally:
        process.kill()
        process.wait()
