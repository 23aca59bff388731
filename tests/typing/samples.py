"""
Programs as users write them: what a checker must find out of each, and what it must not let pass.

A line `reveal_type(x)  # int` says what is to be revealed; a line that ends in `# error` must be refused.
"""

RIGHT = """
from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from typing import Union

from typing_extensions import reveal_type

from hungframe import (
    AdaptiveTimeout,
    BreakerState,
    BudgetExhaustedError,
    CallRejectedError,
    CallTimeoutError,
    CircuitBreaker,
    Guard,
    GuardSet,
    Outcome,
    Permit,
    Refusal,
    TokenBucket,
    current_deadline,
    time_left,
)
from hungframe.events import Event
from hungframe.ports import HealthPort

guard = Guard("images", breaker=CircuitBreaker(), budget=[TokenBucket(), TokenBucket()], timeout=AdaptiveTimeout())


@guard
def draw(prompt: str, *, size: int = 1) -> bytes:
    return b""


@guard
async def draw_async(prompt: str, *, size: int = 1) -> bytes:
    return b""


@guard
def lines(prompt: str, *, size: int = 1) -> Generator[bytes, str, int]:
    sent = yield b""
    return len(sent)


@guard
async def chunks(prompt: str, *, size: int = 1) -> AsyncGenerator[bytes, str]:
    sent = yield b""
    yield sent.encode()


@guard.using(first_item=5, between_items=2)
async def numbers() -> AsyncIterator[int]:
    yield 1


@guard.using(timeout=5)
def draw_quickly(prompt: str) -> bytes:
    return b""


def region_of(prompt: str, *, region: str = "eu", **others: object) -> str:
    return region


guards = GuardSet(
    "images",
    key=region_of,
    max_guards=100,
    timeout=lambda: AdaptiveTimeout(ceiling=300.0),
    breaker=CircuitBreaker,
    budget=[TokenBucket(), lambda key: TokenBucket(capacity=1)],
    isolate=None,
)
GuardSet("images", timeout=20, breaker=lambda key: None if key == "eu" else CircuitBreaker())
GuardSet("images", timeout=lambda key: 5.0 if key == "eu" else 20.0, budget=TokenBucket())


@guards
def draw_there(prompt: str, *, region: str = "eu") -> bytes:
    return b""


@guards
async def draw_there_async(prompt: str, *, region: str = "eu") -> bytes:
    return b""


@guards
async def chunks_there(prompt: str, *, region: str = "eu") -> AsyncGenerator[bytes, str]:
    yield b""


class Studio:
    @guard
    def method(self, prompt: str) -> bytes:
        return b""

    @guard
    async def method_async(self, prompt: str) -> bytes:
        return b""

    @guard
    async def stream(self, prompt: str) -> AsyncGenerator[bytes, None]:
        yield b""

    @classmethod
    @guard
    def by_class(cls, prompt: str) -> bytes:
        return b""

    @staticmethod
    @guard
    def by_nobody(prompt: str) -> bytes:
        return b""

    @guard
    @classmethod
    def by_class_outside(cls, prompt: str) -> bytes:
        return b""

    @guard
    @staticmethod
    def by_nobody_outside(prompt: str) -> bytes:
        return b""


def plain(prompt: str, *, size: int = 1) -> bytes:
    return b""


async def plain_async(prompt: str, *, size: int = 1) -> bytes:
    return b""


async def main() -> None:
    reveal_type(draw("a cat", size=2))  # bytes
    reveal_type(draw_quickly("a cat"))  # bytes
    reveal_type(await draw_async("a cat", size=2))  # bytes
    studio = Studio()
    reveal_type(studio.method("a cat"))  # bytes
    reveal_type(await studio.method_async("a cat"))  # bytes
    reveal_type(studio.by_class("a cat"))  # bytes
    reveal_type(Studio.by_class("a cat"))  # bytes
    reveal_type(Studio.by_nobody("a cat"))  # bytes
    reveal_type(Studio.by_class_outside("a cat"))  # bytes
    reveal_type(Studio.by_nobody_outside("a cat"))  # bytes
    reveal_type(guard.call(plain, "a cat", size=2))  # bytes
    reveal_type(await guard.acall(plain_async, "a cat", size=2))  # bytes
    reveal_type(guard.call(lambda: 5))  # int
    stream = chunks("a cat", size=2)
    reveal_type(await stream.asend("more"))  # bytes
    reveal_type(await stream.athrow(ValueError()))  # bytes
    await stream.aclose()
    async for chunk in studio.stream("a cat"):
        reveal_type(chunk)  # bytes
    async for number in numbers():
        reveal_type(number)  # int
    for line in guard.call(lines, "a cat", size=2):
        reveal_type(line)  # bytes
    reveal_type(lines("a cat").send("more"))  # bytes
    reveal_type(guard(len)("abc"))  # int
    reveal_type(draw_there("a cat", region="us"))  # bytes
    reveal_type(await draw_there_async("a cat", region="us"))  # bytes
    async for chunk in chunks_there("a cat", region="us"):
        reveal_type(chunk)  # bytes
    reveal_type(await guards.acall(plain_async, "a cat", size=2))  # bytes
    reveal_type(guards.call(plain, "a cat", size=2))  # bytes
    reveal_type(guards["eu"].call(plain, "a cat", size=2))  # bytes
    reveal_type(guards.choose(["eu", "us"]))  # str
    reveal_type(guards.choose({("eu", 1), ("us", 2)}))  # tuple[str, int]
    reveal_type(guards.snapshot()["eu"].state)  # str
    reveal_type("eu" in guards)  # bool
    reveal_type(len(guards))  # int
    async with guard.attempt() as attempt:
        reveal_type(attempt.deadline)  # float
    with guard.attempt() as attempt:
        reveal_type(attempt.timeout)  # float
    with guard.acquire() as permit:
        reveal_type(permit.timeout)  # float
        permit.settle("success")
        permit.settle(Outcome.QUOTA)
    with guard.acquire(cost=5) as permit:
        permit.settle("success", used=2.5)
    reveal_type(await guard.acquire().acall(plain_async, "a cat", size=2))  # bytes
    reveal_type(guard.acquire().call(len, "a cat"))  # int
    with guard.attempt(cost=5):
        reveal_type(TokenBucket(10, cost=len, used=lambda answer: answer.total).capacity)  # float
    reveal_type(current_deadline())  # float | None
    reveal_type(time_left())  # float | None
    reveal_type(guard.snapshot().counts["success"])  # int
    reveal_type(guard.snapshot().to_json())  # str
    reveal_type(guard.health.current_budget())  # int
    port: HealthPort = guard.health
    reveal_type(port.should_open_circuit())  # bool
    try:
        draw("a cat")
    except CallTimeoutError as late:
        reveal_type(late.elapsed)  # float
        reveal_type(late.receipt)  # str
        reveal_type(late.phase)  # str | None
    except BudgetExhaustedError as empty:
        reveal_type(empty.retry_after)  # float | None
    except CallRejectedError as refused:
        reveal_type(refused.guard)  # str


signature: Callable[[str], bytes] = draw


class OwnBreaker:
    def acquire(self, now: float, *, timeout: float) -> Union[Permit, Refusal]:
        return Permit(1)

    def record(self, permit: Permit, outcome: Outcome, now: float) -> None: ...

    def release(self, permit: Permit, now: float) -> None: ...

    def state(self, now: float) -> BreakerState:
        return BreakerState.CLOSED


class OwnBudget:
    def try_acquire(self, tokens: float, now: float) -> bool:
        return True

    def give_back(self, tokens: float, now: float) -> None: ...

    def available(self, now: float) -> int:
        return 1

    def retry_after(self, tokens: float, now: float) -> float:
        return 0.0

    def pause(self, until: float) -> None: ...


class OwnTimeout:
    def current(self, now: float) -> float:
        return 1.0

    def observe(self, seconds: float, now: float, *, completed: bool) -> None: ...


class OwnClock:
    def now(self) -> float:
        return 0.0

    def wall(self) -> float:
        return 0.0


def classify(ended: object) -> Union[Outcome, None]:
    return None


def sink(event: Event) -> None: ...


Guard(
    "own",
    breaker=OwnBreaker(),
    budget=OwnBudget(),
    timeout=OwnTimeout(),
    clock=OwnClock(),
    classify=classify,
    sinks=[sink, print],
    enabled=lambda: True,
    isolate=None,
)
"""

WRONG = """
from __future__ import annotations

from hungframe import CircuitBreaker, Guard, GuardSet, TokenBucket

guard = Guard("images")
guards = GuardSet("images", key=str)


@guards
def draw_there(prompt: str) -> bytes:
    return b""


@guard
def draw(prompt: str) -> bytes:
    return b""


@guard
async def draw_async(prompt: str) -> bytes:
    return b""


class NoBreaker:
    def acquire(self, now: float) -> bool:
        return True


draw(5)  # error
draw("a cat", size=2)  # error
draw_async()  # error
draw("a cat").upper_case()  # error
guard.call(draw, 5)  # error
guard.acall(draw_async, 5)  # error
guard.acall(draw, "a cat")  # error
guard(5)  # error
guard.acquire().settle(5)  # error
guard.acquire().acall(draw_async, 5)  # error
guard.acquire().call(len)  # error
guard.snapshot().state = "open"  # error
Guard(5)  # error
Guard("images", breaker=NoBreaker())  # error
Guard("images", budget=5)  # error
Guard("images", cost="5")  # error
Guard("images", used=5)  # error
guard.acquire(cost="5")  # error
TokenBucket(cost="5")  # error
Guard("images", budget=TokenBucket)  # error
Guard("images", timeout="5")  # error
Guard("images", isolate="x")  # error
Guard("images", sinks=print)  # error
Guard("images", breaker=CircuitBreaker)  # error
Guard("images", timeuot=5)  # error
draw_there(5)  # error
guards.call(draw, 5)  # error
guards.acall(draw_async, 5)  # error
GuardSet(5)  # error
GuardSet("images", timeuot=5)  # error
GuardSet("images", breaker=CircuitBreaker())  # error
GuardSet("images", timeout="5")  # error
GuardSet("images", key="region")  # error
guards.choose(5)  # error
with guard.attempt() as attempt:
    attempt.deadline = 5.0  # error
"""
