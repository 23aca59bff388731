"""
The same page from a thread, for services without an ASGI server.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from hungframe import Guard
from hungframe.health import HealthServer, serve


def wait_for(what: Callable[[], object], within: float = 3.0) -> None:
    """
    Wait until it is so.
    """
    ends_at = time.monotonic() + within
    while not what():
        assert time.monotonic() < ends_at, "not in time"
        time.sleep(0.01)


def connected(server: HealthServer) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(str(server.host), int(server.port), timeout=5)


def test_json_page_and_status() -> None:
    """
    As under ASGI.
    """
    guard = Guard("images")
    with serve(guard) as server:
        with urllib.request.urlopen(server.url) as answer:
            assert "application/json" == answer.headers["Content-Type"]
            assert "images" == json.load(answer)["guards"][0]["name"]
        asked = urllib.request.Request(server.url, headers={"Accept": "text/html"})
        with urllib.request.urlopen(asked) as answer:
            assert b"<main" in answer.read()
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        guard.force_open()
        time.sleep(0.26)
        with pytest.raises(urllib.error.HTTPError, match="503") as failed:
            urllib.request.urlopen(server.url + "health.json?probe=1")
        failed.value.close()


def test_one_connection_many_requests() -> None:
    """
    HEAD, POST and errors leave a connection that works.
    """
    guard = Guard("images")
    with serve(guard, operator_token="x" * 20) as server:
        connection = connected(server)
        try:
            for method, path, body, status in [
                ("HEAD", "/", None, 200),
                ("GET", "/page.css", None, 200),
                ("GET", "/nowhere", None, 404),
                ("PUT", "/", b"x", 405),
                ("POST", "/operate", b"guard=1", 403),
                ("GET", "/health.json", None, 200),
            ]:
                connection.request(method, path, body)
                answer = connection.getresponse()
                answer.read()
                assert status == answer.status
            connection.request("POST", "/operate", b"x" * 9000)
            answer = connection.getresponse()
            assert (413, "close") == (answer.status, answer.headers["Connection"])
            answer.read()
        finally:
            connection.close()


def test_stream() -> None:
    """
    It tells at once, tells what changes, forgets who leaves, and ends with the server.
    """
    guard = Guard("images")
    server = serve(guard)
    first, second = connected(server), connected(server)
    try:
        told: list[Any] = []

        def read(answer: http.client.HTTPResponse) -> None:
            for line in answer:
                if line.startswith(b"data: {"):
                    told.append(json.loads(line[6:])["guards"][0]["state"])
            told.append("ended")

        first.request("GET", "/events")
        thread = threading.Thread(target=read, args=(first.getresponse(),))
        thread.start()
        second.request("GET", "/events")
        answer = second.getresponse()
        assert "text/event-stream; charset=utf-8" == answer.headers["Content-Type"]
        wait_for(lambda: told and server.viewers == 2)
        answer.close()
        second.close()
        wait_for(lambda: server.viewers == 1)
        guard.force_open()
        wait_for(lambda: len(told) == 2)
        begun = time.monotonic()
        server.close()
        server.close()
        thread.join(2)
        assert ["closed", "forced_open", "ended"] == told
        assert time.monotonic() - begun < 1.0
        assert not guard._engine.sinks
    finally:
        first.close()
        second.close()


def test_port_that_is_taken() -> None:
    """
    An error at once, and nothing listens to the guard then.
    """
    guard = Guard("images")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"health page cannot listen at 127.0.0.1, port {port}: .*in use"):
            serve(guard, port=port)
    assert not guard._engine.sinks


def test_ipv6() -> None:
    """
    An address of six.
    """
    try:
        server = serve(Guard("images"), host="::1")
    except OSError:
        pytest.skip("no IPv6 here")
    with server, urllib.request.urlopen(server.url) as answer:
        assert 200 == answer.status and server.url.startswith("http://[::1]:")


@pytest.mark.parametrize("settings", [{"host": 5}, {"port": "x"}, {"port": -1}, {"port": 70_000}, {"host": ""}])
def test_bad_address(settings: Any) -> None:
    """
    Refused with its name.
    """
    with pytest.raises((TypeError, ValueError), match=next(iter(settings))):
        serve(Guard("images"), **settings)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_close_in_a_forked_child() -> None:
    """
    The thread does not run there, so nobody waits for it; and the parent serves on.
    """
    with serve(Guard("images")) as server:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(5)
            server.close()
            os._exit(0)
        assert 0 == os.waitpid(pid, 0)[1]
        with urllib.request.urlopen(server.url) as answer:
            assert 200 == answer.status
