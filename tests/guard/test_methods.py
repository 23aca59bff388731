"""
A guard on methods: of instances, of classes, static, in either order.
"""

from __future__ import annotations

import inspect
from typing import Any

import anyio
import pytest

from hungframe import Guard
from hungframe.testing import run_virtual
from tests.guard.fakes import Backend, on_each_backend

guard = Guard("images")


class Studio:
    """
    Methods of every kind, guarded in every order.
    """

    name = "studio"

    @guard
    def method(self, prompt: str) -> tuple[str, str]:
        return self.name, prompt

    @guard
    async def method_async(self, prompt: str) -> tuple[str, str]:
        await anyio.sleep(0)
        return self.name, prompt

    @classmethod
    @guard
    def class_inside(cls, prompt: str) -> tuple[str, str]:
        return cls.name, prompt

    @guard
    @classmethod
    def class_outside(cls, prompt: str) -> tuple[str, str]:
        return cls.name, prompt

    @staticmethod
    @guard
    def static_inside(prompt: str) -> tuple[str, str]:
        return "static", prompt

    @guard
    @staticmethod
    def static_outside(prompt: str) -> tuple[str, str]:
        return "static", prompt

    @classmethod
    @guard
    async def class_inside_async(cls, prompt: str) -> tuple[str, str]:
        return cls.name, prompt

    @guard
    @classmethod
    async def class_outside_async(cls, prompt: str) -> tuple[str, str]:
        return cls.name, prompt

    @guard
    @staticmethod
    async def static_outside_async(prompt: str) -> tuple[str, str]:
        return "static", prompt


class Atelier(Studio):
    """
    A subclass, to see that `cls` is the right one.
    """

    name = "atelier"


@pytest.fixture(autouse=True)
def _fresh() -> None:
    guard.reset()


def counted() -> int:
    """
    Successes so far.
    """
    return guard.snapshot().counts["success"]


@pytest.mark.parametrize("owner", [Studio, Atelier])
@pytest.mark.parametrize(
    ("method", "of"),
    [
        ("method", "instance"),
        ("class_inside", "class"),
        ("class_outside", "class"),
        ("static_inside", "static"),
        ("static_outside", "static"),
    ],
)
def test_methods_of_every_kind(owner: type[Studio], method: str, of: str) -> None:
    """
    Each gets what it is bound to, from an instance and from the class, and is guarded.
    """
    before = counted()
    callers: list[Any] = [owner()] if of == "instance" else [owner(), owner]

    for caller in callers:
        expected = "static" if of == "static" else owner.name
        assert (expected, "a cat") == getattr(caller, method)("a cat")

    assert before + len(callers) == counted()


@pytest.mark.parametrize("owner", [Studio, Atelier])
@pytest.mark.parametrize(
    "method", ["method_async", "class_inside_async", "class_outside_async", "static_outside_async"]
)
@on_each_backend
def test_async_methods_of_every_kind(backend: Backend, owner: type[Studio], method: str) -> None:
    """
    So it is with async methods.
    """
    before = counted()
    expected = "static" if method.startswith("static") else owner.name

    assert (expected, "a cat") == run_virtual(getattr(owner(), method), "a cat", backend=backend)

    assert before + 1 == counted()


def test_bound_method_is_guarded() -> None:
    """
    A method of one object can be guarded there.
    """
    drawn: list[str] = []

    guard(drawn.append)("a cat")

    assert ["a cat"] == drawn


def test_methods_stay_coroutine_functions() -> None:
    """
    Bound or not, an async method is known as one.
    """
    assert inspect.iscoroutinefunction(Studio.method_async)
    assert inspect.iscoroutinefunction(Studio().method_async)
    assert inspect.iscoroutinefunction(Studio.class_outside_async)
    assert not inspect.iscoroutinefunction(Studio.method)
