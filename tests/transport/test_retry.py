"""
Requests that are sent again by a client with a guard, and those that are not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from openai import AsyncOpenAI, InternalServerError, OpenAI

from hungframe import BudgetExhaustedError, CallTimeoutError, CircuitBreaker, CircuitOpenError, Guard, Hedge, Retry
from hungframe.events import BudgetPaused, Event, GenRetry
from hungframe.testing import HostileProvider
from tests.transport.faces import Face, Kind, Library, each_kind, each_library, run, run_with, settled
from tests.transport.raw_server import OK, Connection, says, serving

UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy"


def guard_of(**settings: Any) -> Guard:
    """
    One that tries again at once.
    """
    given = {"retry": Retry(3, base=0.0), "breaker": None, "timeout": 2.0, "grace": 0.05, **settings}
    return Guard("images", **given)


def counts(guard: Guard) -> dict[str, int]:
    """
    What was counted, and only that; nothing may be in flight.
    """
    snapshot = guard.snapshot()
    assert 0 == snapshot.in_flight
    return {outcome: count for outcome, count in snapshot.counts.items() if count}


def answers(kind: Kind, library: Library, guard: Guard, modes: Any, method: str = "GET", **options: Any) -> list[Any]:
    """
    What a request comes to, how many were sent, and over how many connections.
    """

    async def scenario(face: Face) -> Any:
        response = await face.request(method, provider.url, **options)
        return response.status_code

    with HostileProvider(modes) as provider:
        try:
            answer = run_with(kind, library.ours, scenario, guard=guard)
        except Exception as error:
            answer = type(error).__name__
        return [answer, provider.stats.requests, provider.stats.opened]


@each_kind
@each_library
def test_503_twice(library: Library, kind: Kind) -> None:
    """
    Each attempt is a call of its own; all go over one connection, since what is not handed on is read.
    """
    told: list[Event] = []
    guard = guard_of(sinks=[told.append])

    assert [200, 3, 1] == answers(kind, library, guard, ["503", "503", "ok"])
    assert {"5xx": 2, "success": 1} == counts(guard)
    assert [2, 3] == [event.attempt for event in told if isinstance(event, GenRetry)]


@each_kind
@each_library
def test_the_last_answer_is_the_callers(library: Library, kind: Kind) -> None:
    """
    As it is, with its body, and not as an exception.
    """
    guard = guard_of()

    async def scenario(face: Face) -> Any:
        response = await face.get(server.url)
        return response.status_code, response.text

    with serving(says(UNAVAILABLE)) as server:
        assert (503, "busy") == run_with(kind, library.ours, scenario, guard=guard)
    assert {"5xx": 3} == counts(guard)


@each_kind
@each_library
def test_refused_while_it_tries_again(library: Library, kind: Kind) -> None:
    """
    What the provider has said tells more than that there is no token left.
    """

    class OneToken:
        def __init__(self) -> None:
            self.asked = 0

        def try_acquire(self, n: float, now: float) -> bool:
            self.asked += 1
            return self.asked == 1

        def give_back(self, n: float, now: float) -> None:
            pass

        def available(self, now: float) -> float:
            return 1.0

        def retry_after(self, n: float, now: float) -> float | None:
            return 60.0

        def pause(self, until: float) -> None:
            pass

    guard = guard_of(budget=OneToken())

    async def scenario(face: Face) -> Any:
        response = await face.get(server.url)
        return response.status_code, response.text

    with serving(says(UNAVAILABLE)) as server:
        assert (503, "busy") == run_with(kind, library.ours, scenario, guard=guard)
    assert {"5xx": 1, "rejected": 1} == counts(guard)


@each_kind
@each_library
@pytest.mark.parametrize("mode", ["reset-before-headers", "close-early"])
def test_a_lost_connection(library: Library, kind: Kind, mode: str) -> None:
    """
    It is sent again over another.
    """
    guard = guard_of()

    assert [200, 2, 2] == answers(kind, library, guard, [mode, "ok"])
    assert {"connection": 1, "success": 1} == counts(guard)


@each_kind
@each_library
def test_a_hang(library: Library, kind: Kind) -> None:
    """
    Each attempt has its own deadline.
    """
    guard = guard_of(timeout=0.2)

    assert [200, 2, 2] == answers(kind, library, guard, ["silent", "ok"])
    assert {"timeout": 1, "success": 1} == counts(guard)


@each_kind
@each_library
def test_they_share_the_total(library: Library, kind: Kind) -> None:
    """
    The last that hangs has what the others have left, and is the caller's timeout.
    """
    guard = guard_of(timeout=0.25, total_timeout=0.4)
    began = time.monotonic()

    async def scenario(face: Face) -> None:
        with pytest.raises(CallTimeoutError):
            await face.get(provider.url)

    with HostileProvider("silent") as provider:
        run_with(kind, library.ours, scenario, guard=guard)
        assert 2 == provider.stats.requests
    assert 0.35 < time.monotonic() - began < 1.2


@each_kind
@each_library
def test_retry_after_is_obeyed(library: Library, kind: Kind) -> None:
    """
    The guard is paused once for one 429, and the request is sent again when that is over, POST too.
    """
    told: list[Event] = []
    guard = guard_of(sinks=[told.append])
    began = time.monotonic()

    assert [200, 2, 1] == answers(kind, library, guard, ["429:1", "ok"], "POST", json={})
    assert 1.0 <= time.monotonic() - began < 2.5
    assert [1000] == [event.paused_ms for event in told if isinstance(event, BudgetPaused)]
    assert {"quota": 1, "success": 1} == counts(guard)


@each_kind
@each_library
@pytest.mark.parametrize("mode", ["429", "429:7"])
def test_one_429_pauses_once(library: Library, kind: Kind, mode: str) -> None:
    """
    When its headers come, with a hint and without, and not again when its body has.
    """
    told: list[Event] = []
    guard = guard_of(retry=None, sinks=[told.append])

    async def scenario(face: Face) -> None:
        async with face.stream("GET", provider.url) as response:
            with pytest.raises(BudgetExhaustedError):
                await face.get(provider.url)
            # Longer than a tenth of the hint would be a new pause, if it were told again.
            time.sleep(0.8)
            await face.read(response)

    with HostileProvider(mode) as provider:
        run_with(kind, library.ours, scenario, guard=guard)
    paused = [event.paused_ms for event in told if isinstance(event, BudgetPaused)]
    assert 1 == len(paused)
    assert [7000] == paused or 1000 <= paused[0] <= 2000


# -- what may be sent twice ------------------------------------------------------


@each_kind
@each_library
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])
def test_idempotent_methods(library: Library, kind: Kind, method: str) -> None:
    """
    RFC 9110, 9.2.2.
    """
    assert [200, 2] == answers(kind, library, guard_of(), ["503", "ok"], method)[:2]


@each_kind
@each_library
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_others_are_sent_once(library: Library, kind: Kind, method: str) -> None:
    """
    Unless they have a key, or their user says that they may be sent twice.
    """

    def ask(guard: Guard, modes: Any = ("503", "ok"), **options: Any) -> list[Any]:
        return answers(kind, library, guard, list(modes), method, **options)[:2]

    def is_draft(request: Any) -> bool:
        return str(request.url).endswith("?draft=1")

    assert [503, 1] == ask(guard_of())
    assert [200, 2] == ask(guard_of(), headers={"Idempotency-Key": "1"})
    assert [200, 2] == ask(guard_of(idempotent=True))
    assert [503, 1] == ask(guard_of(idempotent=is_draft))
    assert [200, 2] == ask(guard_of(idempotent=is_draft), params={"draft": "1"})


@each_kind
@each_library
def test_said_not_to_be(library: Library, kind: Kind) -> None:
    """
    Then GET is sent once as well; what was refused with 429 was not begun.
    """
    assert [503, 1] == answers(kind, library, guard_of(idempotent=False), ["503", "ok"])[:2]


@each_kind
@each_library
def test_no_connection(library: Library, kind: Kind) -> None:
    """
    What was never sent is tried again, POST too.
    """
    with serving(says(OK)) as server:
        url = server.url
    guard = guard_of()

    async def scenario(face: Face) -> None:
        with pytest.raises(library.stock.ConnectError):
            await face.post(url, json={})

    run_with(kind, library.ours, scenario, guard=guard)
    assert {"connection": 3} == counts(guard)


# -- bodies ----------------------------------------------------------------------


@each_kind
@each_library
def test_the_same_bytes_twice(library: Library, kind: Kind) -> None:
    """
    The provider sees one request twice, to the last byte.
    """
    seen: list[bytes] = []

    def answer(connection: Connection) -> None:
        while request := connection.request():
            seen.append(request)
            connection.say(UNAVAILABLE if len(seen) == 1 else OK)

    async def scenario(face: Face) -> int:
        return int((await face.request("PUT", server.url, content=bytes(range(256)) * 400)).status_code)

    with serving(answer) as server:
        assert 200 == run_with(kind, library.ours, scenario, guard=guard_of())
    assert 2 == len(seen) and seen[0] == seen[1]
    assert seen[0].endswith(bytes(range(256)) * 400)


@each_kind
@each_library
def test_generators_are_sent_once(library: Library, kind: Kind) -> None:
    """
    What was read of them is gone.
    """

    def sync_body() -> Any:
        yield b"once"

    async def async_body() -> Any:
        yield b"once"

    body: Callable[[], Any] = sync_body if kind == "sync" else async_body
    assert [503, 1] == answers(kind, library, guard_of(idempotent=True), ["503", "ok"], "PUT", content=body())[:2]


@each_kind
@each_library
@pytest.mark.parametrize("error", ["long", "slow"])
def test_what_cannot_be_drained_is_given_up(library: Library, kind: Kind, error: str) -> None:
    """
    A long error, and one that never ends, hold nobody up: the next attempt has another connection.
    """

    def answer(connection: Connection) -> None:
        connection.request()
        if connection.number:
            connection.say(OK)
            return
        connection.say(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 1000000\r\n\r\n")
        if error == "long":
            connection.say(b"x" * 1_000_000)
        connection.is_over.wait(5)

    async def scenario(face: Face) -> int:
        return int((await face.get(server.url)).status_code)

    guard = guard_of(timeout=10.0)
    began = time.monotonic()
    with serving(answer) as server:
        assert 200 == run_with(kind, library.ours, scenario, guard=guard)
        assert 2 == len(server.connections)
    assert time.monotonic() - began < 2.0
    assert {"5xx": 1, "success": 1} == counts(guard)


# -- what a client cannot do -----------------------------------------------------


@each_library
@pytest.mark.parametrize(
    ("settings", "name"), [({"hedge": Hedge(after=0.1)}, "hedge"), ({"fallback": "none"}, "fallback")]
)
def test_refused_at_once(library: Library, settings: dict[str, Any], name: str) -> None:
    """
    Where the client is made, with what would do.
    """
    for kind in (library.ours.Client, library.ours.AsyncClient, library.ours.GuardTransport):
        with pytest.raises(ValueError, match=f"a client takes no guard with a {name}.*decorate the function"):
            kind(guard=Guard("images", **settings))
    without: dict[str, Any] = {name: None}
    library.ours.Client(guard=Guard("images", **settings).using(**without)).close()


# -- through an SDK --------------------------------------------------------------


@each_kind
def test_openai(kind: Kind) -> None:
    """
    Its requests are POST: sent again where the user says so, and its own retries are off.
    """
    import hungframe.transport.httpx2 as ours

    async def main(guard: Guard) -> Any:
        to: dict[str, Any] = {"base_url": provider.base_url, "api_key": "none", "max_retries": 0}
        messages: Any = [{"role": "user", "content": "a cat"}]
        if kind == "sync":
            with OpenAI(http_client=ours.Client(guard=guard), **to) as client:
                return client.chat.completions.create(model="m", messages=messages)
        async with AsyncOpenAI(http_client=ours.AsyncClient(guard=guard), **to) as async_client:
            return await settled(async_client.chat.completions.create(model="m", messages=messages))

    with HostileProvider(["503", "503", "ok"]) as provider:
        assert run(kind, main, guard_of(idempotent=True)).choices
        assert 3 == provider.stats.requests
        provider.play(["503", "ok"])
        with pytest.raises(InternalServerError):
            run(kind, main, guard_of())
        assert 4 == provider.stats.requests


def test_an_sdk_that_would_retry_a_refusal() -> None:
    """
    Gets an answer that it does not retry, after the client's own retries as well.
    """
    import hungframe.transport.httpx2 as ours

    guard = guard_of(breaker=CircuitBreaker())
    guard.force_open()
    with ours.Client(guard=guard) as client:
        answer = client.get("http://127.0.0.1:1/", headers={"x-stainless-lang": "python"})
        with pytest.raises(CircuitOpenError):
            client.get("http://127.0.0.1:1/")
    assert (503, "false") == (answer.status_code, answer.headers["x-should-retry"])
