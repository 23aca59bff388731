"""
`hungframe top` beside a real page, and beside servers that are none: a question ends in time, and is told in one line.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from hungframe import CircuitBreaker, Guard, TokenBucket, cli
from hungframe.cli.top.asking import HealthPage, NoAnswerError
from hungframe.health import app, serve

pytest.importorskip("rich", reason="rich is not installed")


def images() -> Guard:
    """
    A guard whose breaker opens soon.
    """
    return Guard("images", breaker=CircuitBreaker(min_weight=3, open_for=100), budget=TokenBucket(10))


def broken(guard: Guard) -> Guard:
    """
    The same guard, whose breaker has opened.
    """
    for _ in range(3):
        with pytest.raises(ConnectionError):
            guard.call(fails)
    assert "open" == guard.snapshot().state
    return guard


def fails() -> None:
    raise ConnectionError


@contextmanager
def answering(answer: bytes, every: float | None = None) -> Generator[tuple[str, list[bytes]], None, None]:
    """
    A server that answers all requests with these bytes; one by one, each *every* seconds, if so told.
    """
    asked: list[bytes] = []
    stop = threading.Event()

    def serve_on() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                asked.append(connection.recv(10_000))
                try:
                    for byte in (answer,) if every is None else (answer[i : i + 1] for i in range(len(answer))):
                        connection.sendall(byte)
                        if every is not None and stop.wait(every):
                            return
                except OSError:
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve_on, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/health", asked
        finally:
            stop.set()
            # Closing does not wake up who accepts, on Linux.
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(2)


def http(status: str, body: bytes = b"", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def test_once(capsys: pytest.CaptureFixture[str]) -> None:
    """
    How each guard stands now: plain text where there is no terminal, exit code 0 also where the service is not ready.
    """
    guard = images()
    with serve(guard, Guard("sounds")) as server:
        broken(guard)
        time.sleep(0.26)  # The page looks four times a second.
        assert 0 == cli.main(["top", server.url, "--once"])
    told = capsys.readouterr()
    assert not told.err and "\x1b" not in told.out
    assert "images  Open, next try in 1 min" in told.out
    assert "! 3 connection lost" in told.out and "7 of 10 tokens left" in told.out
    assert "Breaker opened, 100 % failed" in told.out
    assert "sounds  Closed" in told.out and "timeout" in told.out
    assert not any(line.endswith(" ") for line in told.out.splitlines())


@pytest.mark.parametrize("more, seen", [([], "images  Closed"), (["--json"], '"name":"images"')])
def test_without_a_terminal(
    more: list[str], seen: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Each look is written below the last; a page that is away is told of, and asked again; Ctrl-C is how one leaves.
    """
    guard = images()
    servers = [serve(guard)]
    url, port = servers[0].url, int(servers[0].port)
    between = iter([servers[0].close, lambda: servers.append(serve(guard, port=port)), None])

    def wait(seconds: float) -> None:
        do = next(between)
        if do is None:
            raise KeyboardInterrupt
        do()

    monkeypatch.setattr("hungframe.cli.top.watching.wait", wait)
    assert 0 == cli.main(["top", url, *more])
    servers[-1].close()
    told = capsys.readouterr()
    assert 2 == told.out.count(seen)
    assert f"hungframe top: {url}: connection refused: nobody listens there\n" == told.err


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """
    `--json` hands the document on, as one line.
    """
    with serve(images()) as server:
        assert 0 == cli.main(["top", server.url, "--once", "--json"])
        page = HealthPage(server.url).ask()
    line = capsys.readouterr().out
    assert 1 == line.count("\n")
    handed: dict[str, Any] = json.loads(line)
    assert page["guards"][0]["states"] == handed["guards"][0]["states"] and set(page) == set(handed)


def test_a_protected_mount_under_uvicorn(capsys: pytest.CaptureFixture[str]) -> None:
    """
    A page somewhere in a service that lets in who has a token: `--header` sends it, without it the line says so.
    """
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    applications = pytest.importorskip("starlette.applications", reason="starlette is not installed")
    from starlette.routing import Mount

    from tests.health.serving import served

    page = app(broken(images()))

    async def only_ours(scope: Any, receive: Any, send: Any) -> None:
        if (b"authorization", b"Bearer our-own") in scope["headers"]:
            await page(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body"})

    with served(applications.Starlette(routes=[Mount("/internal/gen-health", only_ours)])) as port:
        # With no slash, it is sent on to the one with a slash.
        url = f"127.0.0.1:{port}/internal/gen-health"
        assert 0 == cli.main(["top", url, "--once", "--header", "Authorization: Bearer our-own"])
        assert "images  Open" in capsys.readouterr().out
        assert 1 == cli.main(["top", url, "--once"])
        told = capsys.readouterr()
    assert not told.out and "HTTP 401: not let in; --header" in told.err


@pytest.mark.parametrize(
    "answer, said",
    [
        (http("404 Not Found"), "HTTP 404: nothing is there; give the URL at which the health page is mounted"),
        (http("403 Forbidden"), "HTTP 403: not let in; --header"),
        (http("500 Oh"), "HTTP 500: it has a fault"),
        (http("204 Empty"), "HTTP 204: that is no health page"),
        (http("200 OK", b"<html>", "Content-Type: text/html"), "what answers is no health page (text/html)"),
        (http("200 OK", b"[1]", "Content-Type: application/json"), "what answers is no health page (application/json)"),
        (http("200 OK", b"[" * 100_000), "what answers is no health page"),
        (http("200 OK", b'{"version": 2, "guards": []}'), "the page is of version 2, and this hungframe reads 1"),
        (http("503 Away", b"<h1>"), "HTTP 503, and no health page"),
        (
            http("302 Found", b"", "Location: http://a.example/x?key=1"),
            "it is somewhere else: http://a.example/x; give",
        ),
        (http("302 Found", b"", "Location: file:///etc/passwd"), "HTTP 302: that is no health page"),
        (http("503 Away", b"<h1>", "Content-Type: text/\x1b[2Jx"), "HTTP 503, and no health page (text/?[2jx)"),
        (http("200 OK", b"<h1>", "Content-Type: text/\x1b]0;x"), "what answers is no health page (text/?]0)"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", "closed in the middle of the answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP; is it https://?"),
        (b"", "the connection was closed before an answer came"),
    ],
)
def test_what_is_no_page(answer: bytes, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """
    One line on standard error, exit code 1, and nothing where the page would be.
    """
    with answering(answer) as (url, _):
        assert 1 == cli.main(["top", f"{url}?token=secret", "--once"])
    told = capsys.readouterr()
    assert not told.out and 1 == told.err.count("\n")
    assert told.err.startswith(f"hungframe top: {url}: ") and said in told.err
    assert "secret" not in told.err and "key=1" not in told.err


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_slip_in_the_url(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """
    It ends also what would go on for ever: what answers so at the first look will not be a page at the second.
    """
    with answering(http("404 Not Found")) as (url, asked):
        assert 1 == cli.main(["top", url, *more])
    assert 1 == len(asked) and "HTTP 404" in capsys.readouterr().err


def test_https_without_tls() -> None:
    """
    As any TLS error, it is told in one line.
    """
    with answering(http("400 Bad")) as (url, _), pytest.raises(NoAnswerError, match="no TLS with it") as told:
        HealthPage(url.replace("http:", "https:")).ask()
    assert told.value.is_lasting


def test_a_certificate_of_nobody() -> None:
    """
    What is not trusted is not asked.
    """
    trustme = pytest.importorskip("trustme", reason="trustme is not installed")
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def shake() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    pass

        thread = threading.Thread(target=shake, daemon=True)
        thread.start()
        with pytest.raises(NoAnswerError, match="the certificate is not trusted: ") as told:
            HealthPage(f"https://127.0.0.1:{listener.getsockname()[1]}").ask()
        thread.join(2)
    assert told.value.is_lasting


def test_nobody_listens() -> None:
    """
    That may change by itself, so it is worth asking again.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(NoAnswerError, match="connection refused: nobody listens there") as told:
            HealthPage(f"127.0.0.1:{taken.getsockname()[1]}").ask()
    assert not told.value.is_lasting


@pytest.mark.parametrize("answer", [http("200 OK", b'{"guards": []}' * 9), b"HTTP/1.1 200 OK\r\nX: " + b"x" * 900])
def test_a_server_that_trickles(answer: bytes) -> None:
    """
    A byte now and then keeps any socket's timeout from coming; the question ends in its time, and so does its thread.
    """
    with answering(answer, every=0.02) as (url, _):
        page = HealthPage(url, within=0.2)
        begun = time.monotonic()
        with pytest.raises(NoAnswerError, match=r"no whole answer within 0.2 s"):
            page.ask()
        assert time.monotonic() - begun < 1
        ends_at = time.monotonic() + 2
        while page._guard.snapshot().orphans:
            assert time.monotonic() < ends_at
            time.sleep(0.01)


def test_a_header_goes_to_no_other_server() -> None:
    """
    Whatever the page answers, what lets us in there is told nobody else.
    """
    with answering(http("200 OK", b'{"guards": []}')) as (other, asked_other):
        with answering(http("307 There", b"", f"Location: {other}")) as (url, asked):
            with pytest.raises(NoAnswerError, match="it is somewhere else"):
                HealthPage(url, {"Authorization": "Bearer our-own"}).ask()
    assert not asked_other
    assert b"Authorization: Bearer our-own" in asked[0]


@pytest.mark.parametrize(
    "words, said",
    [
        (["ftp://a"], "the URL must be such as http://127.0.0.1:8000/internal/gen-health, got 'ftp://a'"),
        (["http://"], "the URL must be such as"),
        (["a b"], "the URL must be such as"),
        (["http://a:99999"], "the URL must be such as"),
        (
            ["http://me:secret@a"],
            "a URL with a password ends up in logs; send it by --header 'Authorization: Basic ...'",
        ),
        (["a", "--interval", "0"], "--interval must be in 0.1..3600 s, got 0"),
        (["a", "--timeout", "nan"], "--timeout must be in 0.1..3600 s, got nan"),
        (["a", "--header", "secret"], "--header must be such as 'Authorization: Bearer ...': a name, a colon, a value"),
        (["a", "--header", "A: secret\r\nB: c"], "the value of --header 'A' must be of printable ASCII"),
        ([], "required: url"),
    ],
)
def test_mistakes(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """
    What cannot be meant is told with exit code 2, before anybody is asked; secrets are not repeated.
    """
    with pytest.raises(SystemExit) as left:
        cli.main(["top", *words])
    assert 2 == left.value.code
    told = capsys.readouterr().err
    assert said in told and "secret" not in told


def test_without_rich(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The extra that is missing is named.
    """
    import sys

    for name in [name for name in sys.modules if name.partition(".")[0] == "rich" or "cli.top." in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("hungframe.cli.top.watching", raising=False)
    # What Python does where there is no such package.
    monkeypatch.setattr(sys, "meta_path", [NoRich(), *sys.meta_path])
    assert 1 == cli.main(["top", "127.0.0.1:1", "--once"])
    told = "hungframe top: needs rich, which is not installed: pip install 'hungframe[cli]'\n"
    assert told == capsys.readouterr().err


class NoRich:
    """
    Finds rich missing.
    """

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == "rich":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
