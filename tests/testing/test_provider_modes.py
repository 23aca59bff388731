"""
Each mode, as a client meets it.
"""

import email.utils
import functools
import json
import socket
import time

import httpx
import pytest

from hungframe.testing.provider import HostileProvider

BODY = b'{"ok": true}'
# Without this, httpx reads the system's certificates for each call: 18 ms.
get = functools.partial(httpx.get, verify=False)
post = functools.partial(httpx.post, verify=False)
stream = functools.partial(httpx.stream, "GET", verify=False)


def connect(provider: HostileProvider) -> socket.socket:
    url = httpx.URL(provider.url)
    return socket.create_connection((url.host, url.port or 0), timeout=2.0)


def ask(sock: socket.socket) -> None:
    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")


def read_to_end(sock: socket.socket) -> bytes:
    data = b""
    while piece := sock.recv(65_536):
        data += piece
    return data


def read_until_quiet(sock: socket.socket) -> bytes:
    """
    Read until nothing has come for a moment.
    """
    data = b""
    sock.settimeout(0.25)
    try:
        while piece := sock.recv(65_536):
            data += piece
    except TimeoutError:
        return data
    raise AssertionError("the provider closed")


def test_ok_answers() -> None:
    """
    An honest answer is complete and says what it is.
    """
    with HostileProvider() as provider:
        response = get(provider.url)

    assert 200 == response.status_code
    assert {"ok": True} == response.json()
    assert "application/json" == response.headers["content-type"]


def test_sleep_answers_later() -> None:
    """
    The answer comes after the seconds named, and not before.
    """
    with HostileProvider("sleep:0.1") as provider:
        asked_at = time.monotonic()
        response = get(provider.url)
        seconds = time.monotonic() - asked_at

    assert {"ok": True} == response.json()
    assert seconds >= 0.09


def test_silent_reads_and_never_answers() -> None:
    """
    The request arrives whole, and no byte comes back.
    """
    with HostileProvider("silent") as provider:
        with pytest.raises(httpx.ReadTimeout):
            post(provider.url, content=b"x" * 1_000, timeout=0.1)

        assert 1 == provider.stats.requests
        assert provider.stats.bytes_in > 1_000
        assert 0 == provider.stats.bytes_out


@pytest.mark.parametrize("mode", ["trickle-headers", "trickle-body"])
def test_trickle_sends_single_bytes(mode: str) -> None:
    """
    Bytes come one by one, and the answer is whole in the end.
    """
    pieces: list[bytes] = []
    with HostileProvider(f"{mode}:0.002") as provider:
        with connect(provider) as sock:
            ask(sock)
            while not b"".join(pieces).endswith(BODY):
                pieces.append(sock.recv(65_536))

    # A busy machine may hand over two of them at once, but not many.
    assert sum(len(piece) == 1 for piece in pieces) >= len(BODY) // 2


def test_trickle_outlives_a_timeout_a_read() -> None:
    """
    A timeout that holds for each read does not end a trickle.
    """
    with HostileProvider("trickle-body:0.03") as provider:
        asked_at = time.monotonic()
        response = get(provider.url, timeout=0.25)
        seconds = time.monotonic() - asked_at

    assert {"ok": True} == response.json()
    assert seconds > 0.25


def test_stall_body_sends_half() -> None:
    """
    Headers promise all of the body, half of it comes.
    """
    with HostileProvider("stall-body") as provider, connect(provider) as sock:
        ask(sock)
        head, _, body = read_until_quiet(sock).partition(b"\r\n\r\n")

    assert b"Content-Length: 12" in head
    assert BODY[:6] == body


def test_stall_body_stalls_httpx() -> None:
    """
    httpx has the status and waits for the rest.
    """
    with HostileProvider("stall-body") as provider:
        with stream(provider.url, timeout=0.1) as response:
            assert 200 == response.status_code
            with pytest.raises(httpx.ReadTimeout):
                response.read()


def test_reset_before_headers_is_a_real_reset() -> None:
    """
    The client's kernel sees a RST, not a FIN.
    """
    with HostileProvider("reset-before-headers") as provider:
        with connect(provider) as sock:
            ask(sock)
            with pytest.raises(ConnectionResetError):
                sock.recv(1)

        with pytest.raises(httpx.ReadError):
            get(provider.url)


def test_reset_in_body_comes_after_half() -> None:
    """
    Half of the body arrives, then a RST.
    """
    with HostileProvider("reset-in-body") as provider:
        with connect(provider) as sock:
            ask(sock)
            data = b""
            with pytest.raises(ConnectionResetError):
                while True:
                    data += sock.recv(65_536)

        with pytest.raises(httpx.ReadError):
            get(provider.url)

    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert data.endswith(b"\r\n\r\n" + BODY[:6])


def test_close_early_is_clean() -> None:
    """
    The client sees an end without an answer, and no reset.
    """
    with HostileProvider("close-early") as provider:
        with connect(provider) as sock:
            ask(sock)
            assert b"" == sock.recv(1)

        with pytest.raises(httpx.RemoteProtocolError):
            post(provider.url, content=b"x" * 300_000)


def test_endless_body_goes_on() -> None:
    """
    A client gets as many bytes as it cares to read.
    """
    got = 0
    with HostileProvider("endless-body") as provider:
        with stream(provider.url) as response:
            for piece in response.iter_raw():
                got += len(piece)
                if got > 4_000_000:
                    break
        assert provider.wait_closed()


def test_endless_body_waits_for_its_reader() -> None:
    """
    A client that stops reading stops the provider: its memory stays flat.
    """
    sent = [-1, 0]
    with HostileProvider("endless-body") as provider:
        with connect(provider) as sock:
            ask(sock)
            while sent[-1] != sent[-2] or not sent[-1]:
                time.sleep(0.03)
                sent.append(provider.stats.bytes_out)

    # The kernel's buffers are full, and the one write that waits.
    assert sent[-1] < 32_000_000


def test_endless_body_starves_nobody() -> None:
    """
    Another client is answered while one reads without end.
    """
    with HostileProvider(["endless-body", "ok"]) as provider:
        with stream(provider.url) as response:
            pieces = response.iter_raw()
            next(pieces)
            assert {"ok": True} == get(provider.url).json()
            next(pieces)


def test_never_read_blocks_an_upload() -> None:
    """
    The upload gets stuck and the provider has read nothing.
    """
    with HostileProvider("never-read") as provider:
        with pytest.raises(httpx.WriteTimeout):
            post(provider.url, content=bytes(16_000_000), timeout=0.1)

        assert 0 == provider.stats.bytes_in
        assert {"never-read": 1} == provider.stats.by_mode


def test_never_read_by_header_leaves_the_body() -> None:
    """
    Chosen by a request, it reads the headers, as it must, and no more.
    """
    headers = {"X-Hostile-Mode": "never-read"}
    with HostileProvider() as provider:
        with pytest.raises(httpx.WriteTimeout):
            post(
                provider.url,
                content=bytes(16_000_000),
                headers=headers,
                timeout=0.1,
            )

        assert 1 == provider.stats.requests
        assert provider.stats.bytes_in < 1_000_000


def test_tls_stall_says_nothing_without_tls_too() -> None:
    """
    On a plain connection it is silence.
    """
    with HostileProvider("tls-stall") as provider, connect(provider) as sock:
        ask(sock)
        assert b"" == read_until_quiet(sock)
        assert 0 == provider.stats.requests


def test_slow_accept_reads_later() -> None:
    """
    What was sent is not read for a while, then answered.
    """
    with HostileProvider("slow-accept:0.2") as provider:
        connected_at = time.monotonic()
        with connect(provider) as sock:
            ask(sock)
            assert 0 == provider.stats.bytes_in
            assert sock.recv(65_536).startswith(b"HTTP/1.1 200 OK")
        seconds = time.monotonic() - connected_at

    assert seconds >= 0.19
    assert {"slow-accept:0.2": 1} == provider.stats.by_mode


@pytest.mark.parametrize("status", [400, 401, 404, 418, 429, 500, 503, 599])
def test_a_number_fails_with_that_status(status: int) -> None:
    """
    Any 4xx or 5xx is a mode; the body is an error in OpenAI's shape.
    """
    with HostileProvider(str(status)) as provider:
        response = get(provider.url)

    assert status == response.status_code
    assert str(status) in response.json()["error"]["message"]
    assert "retry-after" not in response.headers


@pytest.mark.parametrize("mode, seconds", [("429:2", "2"), ("503:0.5", "0.5")])
def test_retry_after_in_seconds(mode: str, seconds: str) -> None:
    """
    The number after the status is Retry-After.
    """
    with HostileProvider(mode) as provider:
        assert seconds == get(provider.url).headers["retry-after"]


def test_retry_after_as_date() -> None:
    """
    The date names no earlier instant than was asked for.
    """
    with HostileProvider("429-date:30") as provider:
        asked_at = time.time()
        response = get(provider.url)

    date = email.utils.parsedate_to_datetime(response.headers["retry-after"])
    assert 429 == response.status_code
    assert 30 <= date.timestamp() - asked_at < 33


def test_malformed_is_not_http() -> None:
    """
    What comes back cannot be parsed.
    """
    with HostileProvider("malformed") as provider:
        with connect(provider) as sock:
            ask(sock)
            assert b"not HTTP" in read_to_end(sock)

        with pytest.raises(httpx.RemoteProtocolError):
            get(provider.url)


def test_wrong_length_promises_more() -> None:
    """
    The connection ends before the length that was promised.
    """
    with HostileProvider("wrong-length") as provider:
        with connect(provider) as sock:
            ask(sock)
            data = read_to_end(sock)

        with pytest.raises(httpx.RemoteProtocolError):
            get(provider.url)

    assert b"Content-Length: 112\r\n" in data
    assert data.endswith(BODY)


def test_stream_stall_sends_three_events() -> None:
    """
    Three events come, no end, and nothing more.
    """
    with HostileProvider("stream-stall") as provider:
        with stream(provider.url, timeout=0.3) as response:
            lines = response.iter_lines()
            events = [next(lines) for _ in range(6)][::2]
            with pytest.raises(httpx.ReadTimeout):
                next(lines)

    assert "text/event-stream" == response.headers["content-type"]
    assert [{"index": n} for n in range(3)] == [json.loads(event.removeprefix("data: ")) for event in events]


def test_stream_sends_its_events_and_done() -> None:
    """
    As many events as asked for, one each interval, then the end.
    """
    with HostileProvider("stream:4:0.02") as provider:
        asked_at = time.monotonic()
        response = get(provider.url)
        seconds = time.monotonic() - asked_at

    events = response.text.split("\n\n")
    assert ["data: [DONE]", ""] == events[4:]
    assert seconds >= 0.07


def test_stream_of_nothing_is_done_at_once() -> None:
    """
    No events is a stream, too.
    """
    with HostileProvider("stream:0") as provider:
        assert "data: [DONE]\n\n" == get(provider.url).text
