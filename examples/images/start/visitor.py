"""
A visitor who asks for one image after the other, so that there is something to see.
"""

from __future__ import annotations

import itertools
import json
import threading
import urllib.request
from collections.abc import Iterator

_SUBJECTS = (
    "a lighthouse",
    "a glacier",
    "a paper boat",
    "an observatory",
    "a tram at night",
    "a tea garden",
    "a canyon",
)
_STYLES = ("as a woodcut", "in fog", "from above", "in gouache", "at first light", "in neon")

# Nothing between us and the loopback interface, whatever proxy this machine is told to use.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

_AT_FIRST = 12
_EVERY = 2.5


class Visitor:
    """
    Ask in the background for as long as the block lasts.

    Args:
        address: Of the API, such as `http://127.0.0.1:8000`.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._leaves = threading.Event()
        self._thread = threading.Thread(target=self._ask_on, daemon=True)

    def __enter__(self) -> Visitor:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._leaves.set()
        self._thread.join()

    def _ask_on(self) -> None:
        for number, prompt in enumerate(_prompts()):
            if number >= _AT_FIRST and self._leaves.wait(_EVERY):
                return
            if self._leaves.is_set():
                return
            body = json.dumps({"prompt": prompt, "urgency": 9 if number % 5 == 0 else 0, "seed": number}).encode()
            asked = urllib.request.Request(
                f"{self._address}/jobs", data=body, headers={"Content-Type": "application/json"}
            )
            try:
                _direct.open(asked, timeout=5).close()
            except OSError:
                # The API may be down: that is what this example is about. The next one is asked all the same.
                continue


def _prompts() -> Iterator[str]:
    for style, subject in itertools.cycle(itertools.product(_STYLES, _SUBJECTS)):
        yield f"{subject} {style}"
