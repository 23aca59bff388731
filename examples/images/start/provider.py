"""
The provider to draw with: OpenAI where a key is set, else one on this machine that fails as real ones do.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator, Mapping

from hungframe.testing import HostileProvider

# How a provider answers on most days: it is slow, and now and then it hangs, is overloaded, or sends no image.
_MOST_DAYS = (
    *(["sleep:0.4", "sleep:0.8", "sleep:1.2", "sleep:2"] * 12),
    *(["silent"] * 2),
    *(["500", "429:2", "reset-in-body", "trickle-body"]),
    *(["image-empty-url", "image-null-url", "image-broken-bytes", "image-error-body"]),
)
_ANSWERS = 2_000

# What is set where nothing is: with a real provider these are minutes, and here somebody watches.
_PACE: Mapping[str, str] = {
    "IMAGES_BUDGET": "10",
    "IMAGES_REFILL_SECONDS": "1",
    "IMAGES_TIMEOUT_SECONDS": "4",
    "IMAGES_OPEN_SECONDS": "6",
    "IMAGES_PROBE_SECONDS": "3",
    "IMAGES_LEASE_SECONDS": "5",
}

# Seconds for which it is well, and for which it then hangs.
_WELL, _HANGS = 75.0, 25.0


@contextlib.contextmanager
def provider(environ: Mapping[str, str], say: Callable[[str], object]) -> Iterator[Mapping[str, str]]:
    """
    Give the settings that lead to the provider, which lasts as long as the block; none if they are in *environ*.

    Args:
        environ: With a key of OpenAI in it, or the URL of another provider, or without.

        say: Told when the hostile provider begins to hang, and when it is well again.
    """
    if environ.get("OPENAI_API_KEY") or environ.get("OPENAI_BASE_URL"):
        yield {}
        return
    ends = threading.Event()
    with HostileProvider(_days()) as hostile:
        weather = threading.Thread(target=_change, args=(hostile, ends, say), daemon=True)
        weather.start()
        try:
            yield {**_PACE, "OPENAI_BASE_URL": hostile.base_url, "OPENAI_API_KEY": "none-is-needed"}
        finally:
            ends.set()
            weather.join()


def _days() -> list[str]:
    return random.choices(_MOST_DAYS, k=_ANSWERS)


def _change(hostile: HostileProvider, ends: threading.Event, say: Callable[[str], object]) -> None:
    while not ends.wait(_WELL):
        hostile.play("silent")
        say("the provider hangs now: watch the breaker open, and the frames go on")
        if ends.wait(_HANGS):
            return
        hostile.play(_days())
        say("the provider is well again: a probe will find it out")
