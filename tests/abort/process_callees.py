"""
Callees that run in worker processes, where they are found by their names.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from hungframe import Guard, current_deadline, time_left

guard = Guard("processes", timeout=30.0, isolate="process", breaker=None)

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@guard
def doubled(number: int) -> tuple[int, int]:
    """
    Twice a number, and in which process.
    """
    return 2 * number, os.getpid()


def keeps(fn: Callable[..., Any]) -> Callable[..., Any]:
    """
    A decorator that marks what it decorates.
    """
    import functools

    @functools.wraps(fn)
    def kept(*args: Any) -> Any:
        return "kept", fn(*args)

    return kept


@guard
@keeps
def decorated_twice(number: int) -> Any:
    return number + 1


@guard
async def awaited(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


class Adder:
    """
    Has guarded methods of each kind.
    """

    def __init__(self, number: int) -> None:
        self.number = number

    @guard
    def add(self, other: int) -> int:
        return self.number + other

    @guard
    @classmethod
    def of_class(cls, other: int) -> str:
        return f"{cls.__name__} {other}"

    @guard
    @staticmethod
    def of_none(other: int) -> int:
        return -other

    def plain(self, other: int) -> int:
        return self.number * other


def pid() -> int:
    return os.getpid()


def spins() -> None:
    while True:
        pass


def ignores_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass


def matches_for_ever() -> None:
    re.match(r"(a+)+$", "a" * 60 + "b")


def runs_a_process(path: str) -> None:
    with open(path, "w") as file:
        child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
        file.write(str(child.pid))
    child.wait()


def blocks_its_loop() -> Any:
    async def main() -> None:
        time.sleep(60)

    return main()


def sends_back(value: Any) -> Any:
    return value


def left() -> tuple[float | None, float | None]:
    deadline = current_deadline()
    return time_left(), None if deadline is None else deadline - time.monotonic()


def inner_timeout() -> float:
    return Guard("inner", timeout=60.0).call(lambda: time_left() or 0.0)


def reads_variable() -> str:
    return variable.get()


def makes_a_lock() -> Any:
    return threading.Lock()


def exits(code: int) -> None:
    os._exit(code)


def leaves(code: int) -> None:
    sys.exit(code)


def kills_itself(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(5)


def prints(text: str) -> None:
    print(text)


def leaves_a_thread() -> None:
    threading.Thread(target=time.sleep, args=(60,)).start()


class OddError(Exception):
    """
    Cannot be made from its `args`.
    """

    def __init__(self, *, status_code: int, detail: Any) -> None:
        super().__init__(f"status {status_code}")
        self.status_code = status_code
        self.detail = detail


class DriftingError(Exception):
    """
    Says something else each time that it is made from its `args`.
    """

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


class HeldError(Exception):
    """
    Carries what no pickle takes.
    """

    def __init__(self, value: Any) -> None:
        super().__init__(value)
        self.status_code = 429


class BoobyTrap(Exception):
    """
    Pickles, and explodes when it is unpickled in another process.
    """

    def __reduce__(self) -> Any:
        return _explode, (os.getpid(),)


def _explode(pid: int) -> BoobyTrap:
    if pid != os.getpid():
        raise RuntimeError("not here")
    return BoobyTrap()


class Trap:
    """
    The same for a result.
    """

    def __reduce__(self) -> Any:
        return _explode, (os.getpid(),)


class Bomb:
    """
    The same for an argument.
    """

    def __reduce__(self) -> Any:
        return _explode, (os.getpid(),)


def raises(which: str) -> None:
    if which == "odd":
        raise OddError(status_code=503, detail={"why": "busy"})
    if which == "odd with a lock":
        raise OddError(status_code=503, detail=threading.Lock())
    if which == "drifting":
        raise DriftingError("text", code=5)
    if which == "held":
        raise HeldError(threading.Lock())
    if which == "local":

        class LocalError(Exception):
            pass

        raise LocalError("of nobody")
    if which == "trap":
        raise BoobyTrap
    if which == "caused":
        try:
            raise ConnectionResetError(104, "reset")
        except ConnectionResetError as error:
            raise ValueError("no answer") from error
    raise KeyError(which)


def returns_a_trap() -> Trap:
    return Trap()


def fetch(url: str) -> tuple[str, float | None]:
    from hungframe import time_left
    from hungframe.transport.httpx2 import Client

    with Client() as client:
        try:
            return client.get(url).text, time_left()
        except Exception as error:
            return type(error).__name__, time_left()
