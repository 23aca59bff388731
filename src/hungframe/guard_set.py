"""
One guard a key, where the calls to one provider go to several: regions, models, tenants, API keys.
"""

from __future__ import annotations

import functools
import random as randomness
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator
from typing import Any, TypeVar, cast, overload

from typing_extensions import ParamSpec, Unpack

from hungframe._core import check
from hungframe.by_guard import wrap
from hungframe.choosing import Chooser
from hungframe.each_key import EachKey, GuardSettings, several
from hungframe.guard import Guard, engine_behind
from hungframe.members import Members
from hungframe.ports import EventSink
from hungframe.settings import checked_sink, once
from hungframe.snapshot import Snapshot

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
K = TypeVar("K", bound=Hashable)


class GuardSet:
    """
    Guard the calls to one provider by key: each key has a guard of its own, made when it is first needed.

    An endpoint that hangs opens its own breaker and no other. The set holds the
    guards that were used last; one that is not idle is never dropped.

    Args:
        name: Names the set; the guard of the key "eu" is called "name[eu]".

        key: A function of the call's arguments, `self` included, that tells the
            key; needed by what takes a call, not by `guards[key]`.

        max_guards: Guards held; more only while too few are idle.

        explore_every: Seconds after which `choose` gives one call to a key that
            it has passed over; None: never.

        panic_threshold: Share of tripped breakers, in 0..1, above which `choose`
            no longer waits for them; 1: it always waits.

        random: Gives numbers in [0, 1), for `choose`; None: the `random` module's.

        settings: Those of each guard, as for `Guard`. Breaker and timeout are
            made for each key, by a function without arguments or of the key; so
            may be other policies. A budget that is no function is one budget, shared by all keys.

    Raises:
        TypeError: If an argument is of the wrong kind, or unknown.

        ValueError: If an argument is out of range.

    >>> guards = GuardSet("images", key=lambda prompt, region: region, timeout=20)
    >>> @guards
    ... def draw(prompt: str, region: str) -> str:
    ...     return f"a picture of {prompt}, from {region}"
    >>> draw("a cat", region="eu")
    'a picture of a cat, from eu'
    >>> guards["eu"].name, guards["eu"].snapshot().counts["success"]
    ('images[eu]', 1)
    """

    __slots__ = ("__weakref__", "_chooser", "_key", "_members", "_name", "_now", "_sample")

    def __init__(
        self,
        name: str,
        *,
        key: Callable[..., Hashable] | None = None,
        max_guards: int = 1000,
        explore_every: float | None = 60.0,
        panic_threshold: float = 0.5,
        random: Callable[[], float] | None = None,
        **settings: Unpack[GuardSettings],
    ) -> None:
        self._name = check.text("name", name)
        if key is not None and not callable(key):
            raise TypeError(f"key must be a function of the call's arguments, got {key!r}")
        if random is not None and not callable(random):
            raise TypeError(f"random must be a function that gives numbers in [0, 1), got {random!r}")
        if explore_every is not None:
            check.number("explore_every", explore_every, above=0)
        check.number("panic_threshold", panic_threshold, at_least=0, at_most=1)
        check.whole("max_guards", max_guards, at_least=1)
        self._key = key
        each_key = EachKey(name, settings)
        self._sample = each_key.sample()
        clock = engine_behind(self._sample).clock
        # Asked for each time: within `run_virtual` it is another.
        self._now: Callable[[], float] = lambda: clock.now()
        self._members = Members(name, each_key, max_guards, self._now)
        self._chooser = Chooser(random or randomness.random, explore_every, panic_threshold)

    def __repr__(self) -> str:
        return f"GuardSet({self._name!r}, {len(self)} guards)"

    @property
    def name(self) -> str:
        """
        Its name, with which the names of its guards begin.
        """
        return self._name

    # -- the guards -----------------------------------------------------------

    def __getitem__(self, key: Hashable) -> Guard:
        """
        Find the guard of *key*, and make it if there is none; for every key there is one.

        Raises:
            TypeError: If *key* cannot be hashed.

            Exception: What a function that makes a policy raises.
        """
        return self._members.of(key)

    def __contains__(self, key: object) -> bool:
        return self._members.peek(key) is not None

    def __len__(self) -> int:
        return len(self._members.by_key)

    def __iter__(self) -> Iterator[Hashable]:
        """
        Iterate over the keys that have a guard now, the one used last at the end.
        """
        return iter([key for key, _ in self._members.known()])

    def snapshot(self) -> dict[Hashable, Snapshot]:
        """
        Tell how each guard stands now, by key.
        """
        return {key: member.guard.snapshot() for key, member in self._members.known()}

    def subscribe(self, sink: EventSink) -> Callable[[], None]:
        """
        Tell *sink* every event of each guard from now on, of those made later as well; see `Guard.subscribe`.

        Returns:
            A function that ends it; called again it does nothing.

        Raises:
            TypeError: If *sink* cannot be called.
        """
        heard = functools.partial(checked_sink(sink))
        self._members.subscribe(heard)
        return once(self._members.unsubscribe, heard)

    # -- calling --------------------------------------------------------------

    def __call__(self, fn: F, /) -> F:
        """
        Decorate a function, a coroutine function, a generator function of either kind, or a method; its
        signature stays. Each call goes through the guard of its key.

        Raises:
            TypeError: If the set has no `key`, or *fn* is a class, or cannot be called.
        """
        key = self._key_of_calls()
        if isinstance(fn, (classmethod, staticmethod)):
            return cast("F", type(fn)(self(fn.__func__)))
        # What no guard would take is refused now, and not with the first call.
        self._sample(fn)
        return cast("F", wrap(self._members, key, fn))

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Call a sync function under the guard of the call's key; see `Guard.call`.
        """
        guard = self._members.of(self._key_of_calls()(*args, **kwargs))
        try:
            return guard.call(fn, *args, **kwargs)
        finally:
            # An error that leaves has this frame in its traceback.
            del fn, args, kwargs, guard

    async def acall(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Call an async function under the guard of the call's key; see `Guard.acall`.
        """
        guard = self._members.of(self._key_of_calls()(*args, **kwargs))
        try:
            return await guard.acall(fn, *args, **kwargs)
        finally:
            del fn, args, kwargs, guard

    def _key_of_calls(self) -> Callable[..., Hashable]:
        if self._key is None:
            raise TypeError(
                f"guard set {self._name!r} cannot tell the key of a call; give it key=, a function of the call's "
                f"arguments, or take the guard yourself: guards[key]"
            )
        return self._key

    # -- choosing -------------------------------------------------------------

    @overload
    def choose(self) -> Any: ...

    @overload
    def choose(self, keys: Iterable[K]) -> K: ...

    def choose(self, keys: Iterable[Hashable] | None = None) -> Hashable:
        """
        Tell which of *keys* to call now; those that have a guard if none are given. It takes nothing.

        A key that would refuse the call is chosen only where all would, and
        then the one that will do so for the shortest time. Of the others it is
        a closed one before a half-open one, and of two that are drawn at random
        the one with the lower P95 times calls in flight.

        Raises:
            TypeError: If *keys* is one string, or a key cannot be hashed.

            ValueError: If there is no key.

        >>> guards = GuardSet("images", timeout=20)
        >>> guards["eu"].force_open()
        >>> guards.choose(["eu", "us"])
        'us'
        """
        members = self._members
        if keys is None:
            known = members.known()
            if not known:
                raise ValueError(f"guard set {self._name!r} knows no key yet; say which: choose(keys)")
            return known[self._chooser.choose([member for _, member in known], self._now())][0]
        read = several(keys)
        return read[self._chooser.choose([members.peek(key) for key in read], self._now())]


def guards_in(guards: GuardSet) -> list[Guard]:
    """
    The guards that a set has now, the last used last, for those that look at them without using them.
    """
    return [member.guard for _, member in guards._members.known()]  # pyright: ignore[reportPrivateUsage]
