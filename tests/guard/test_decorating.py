"""
A guard as a decorator: what it may stand on, and that what it stands on keeps its face.
"""

from __future__ import annotations

import abc
import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from hungframe import CircuitOpenError, Guard
from hungframe.testing import VirtualClock, run_virtual
from tests.guard.fakes import Backend, on_each_backend

guard = Guard("images")


@guard
def draw(prompt: str, *, size: int = 1) -> str:
    """Draw a picture."""
    return f"{prompt} at {size}"


@guard
async def draw_async(prompt: str, *, size: int = 1) -> str:
    """Draw a picture, in time."""
    await anyio.sleep(0)
    return f"{prompt} at {size}"


@pytest.fixture(autouse=True)
def _fresh() -> None:
    guard.reset()


def counted() -> int:
    """
    Successes so far.
    """
    return guard.snapshot().counts["success"]


# -- functions -------------------------------------------------------------------------------------------------------


def test_function_keeps_its_face() -> None:
    """
    Name, docstring, module, signature and annotations are those of the function; `__wrapped__` is the function.
    """
    for decorated, text in ((draw, "Draw a picture."), (draw_async, "Draw a picture, in time.")):
        wrapped: Any = inspect.unwrap(decorated)
        assert wrapped is not decorated
        assert wrapped is getattr(decorated, "__wrapped__")  # noqa: B009  # mypy knows no __wrapped__
        assert text == decorated.__doc__
        assert (wrapped.__name__, wrapped.__qualname__, __name__) == (
            decorated.__name__,
            decorated.__qualname__,
            decorated.__module__,
        )
        assert inspect.signature(wrapped) == inspect.signature(decorated)
        assert wrapped.__annotations__ == decorated.__annotations__


def test_kind_of_function_is_kept() -> None:
    """
    A coroutine function stays one, and no other becomes one: frameworks ask.
    """
    assert inspect.iscoroutinefunction(draw_async)
    assert not inspect.iscoroutinefunction(draw)


def test_arguments_and_result_go_through() -> None:
    """
    Positional and keyword arguments reach the function, its result the caller, and it is counted.
    """
    before = counted()

    assert "a cat at 3" == draw("a cat", size=3)

    assert before + 1 == counted()


@on_each_backend
def test_arguments_and_result_go_through_async(backend: Backend) -> None:
    """
    So they do on asyncio and trio.
    """
    before = counted()

    assert "a cat at 3" == run_virtual(functools.partial(draw_async, "a cat", size=3), backend=backend)

    assert before + 1 == counted()


@pytest.mark.parametrize("name", ["self", "fn", "args", "kwargs", "call", "timeout", "limits"])
def test_no_keyword_is_taken(name: str) -> None:
    """
    A callee's keywords are its own, whatever they are called.
    """

    def callee(**given: int) -> dict[str, int]:
        return given

    assert {name: 1} == guard(callee)(**{name: 1})
    assert {name: 1} == guard.call(callee, **{name: 1})


@pytest.mark.parametrize("name", ["self", "fn", "args", "kwargs"])
def test_no_keyword_is_taken_async(name: str) -> None:
    """
    Also not by `acall`.
    """

    async def callee(**given: int) -> dict[str, int]:
        return given

    async def main() -> dict[str, int]:
        return await guard.acall(callee, **{name: 1})

    assert {name: 1} == run_virtual(main)


def test_recursion() -> None:
    """
    A guarded function may call itself; each call is one.
    """
    own = Guard("images")

    @own
    def countdown(left: int) -> int:
        return countdown(left - 1) + 1 if left else 0

    assert 5 == countdown(5)
    assert 6 == own.snapshot().counts["success"]


def test_two_guards_on_one_function() -> None:
    """
    Both count, and either may refuse.
    """
    outer, inner = Guard("outer"), Guard("inner")

    @outer
    @inner
    def callee() -> str:
        return "done"

    assert "done" == callee()
    assert (1, 1) == (outer.snapshot().counts["success"], inner.snapshot().counts["success"])
    inner.force_open()
    with pytest.raises(CircuitOpenError, match="'inner'"):
        callee()
    outer.force_open()
    with pytest.raises(CircuitOpenError, match="'outer'"):
        callee()


def test_attributes_of_a_function_are_kept() -> None:
    """
    What other decorators have hung on a function is still there, `abstractmethod`'s mark included.
    """

    class Painter(abc.ABC):
        @guard
        @abc.abstractmethod
        def paint(self) -> str: ...

    with pytest.raises(TypeError, match="abstract"):
        Painter()  # type: ignore[abstract]  # that is the point


# -- what is no function ---------------------------------------------------------------------------------------------


class Drawer:
    """
    An object that can be called.
    """

    def __call__(self, prompt: str) -> str:
        return prompt


class AsyncDrawer:
    """
    An object whose call is a coroutine function.
    """

    async def __call__(self, prompt: str) -> str:
        await anyio.sleep(0)
        return prompt


@pytest.mark.parametrize(
    "callee", [Drawer(), functools.partial(Drawer()), functools.partial(str), str.upper, functools.lru_cache(str.upper)]
)
def test_callables_of_every_kind(callee: Callable[[str], str]) -> None:
    """
    Partials, objects that can be called, methods of builtins and cached functions are guarded.
    """
    before = counted()

    assert "A CAT" == guard(callee)("A CAT")

    assert before + 1 == counted()


@pytest.mark.parametrize(
    "callee",
    [AsyncDrawer(), functools.partial(draw_async, size=1), functools.partial(AsyncDrawer()), AsyncDrawer().__call__],
)
@on_each_backend
def test_async_callables_of_every_kind(backend: Backend, callee: Any) -> None:
    """
    Async ones are guarded until they end, and not only until they return their coroutine.
    """
    own = Guard("images")
    decorated = own(callee)
    coroutine = decorated("a cat")
    assert 0 == own.snapshot().counts["success"]

    async def main() -> object:
        return await coroutine

    assert "a cat" in str(run_virtual(main, backend=backend))
    assert 1 == own.snapshot().counts["success"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="inspect.markcoroutinefunction came with 3.12")
def test_function_that_is_marked_as_a_coroutine_function() -> None:
    """
    What says that it returns a coroutine is taken at its word.
    """

    def disguised(prompt: str) -> Any:
        return AsyncDrawer()(prompt)

    marked: Any = getattr(inspect, "markcoroutinefunction")(disguised)  # noqa: B009  # not there before 3.12

    assert "a cat" == run_virtual(guard(marked), "a cat")


# -- refusing --------------------------------------------------------------------------------------------------------


@on_each_backend
def test_refused_function_is_not_called(backend: Backend) -> None:
    """
    A refused call raises where it is awaited, and the function's body does not run.
    """
    clock = VirtualClock()
    own = Guard("images", clock=clock)
    own.force_open()
    called: list[str] = []

    @own
    async def callee_async() -> None:
        called.append("async")

    @own
    def callee() -> None:
        called.append("sync")

    async def main() -> None:
        with pytest.raises(CircuitOpenError):
            await callee_async()
        with pytest.raises(CircuitOpenError):
            callee()

    run_virtual(main, backend=backend)

    assert [] == called


def test_calling_an_async_function_asks_nobody_yet() -> None:
    """
    The guard is asked when the coroutine is awaited: one that is made and never awaited takes nothing.
    """
    own = Guard("images")

    async def callee() -> None: ...

    own(callee)().close()
    own.acall(callee).close()

    assert 0 == sum(own.snapshot().counts.values())
