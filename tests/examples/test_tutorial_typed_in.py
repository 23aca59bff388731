"""
The tutorial as a reader does it: typed into `python -m asyncio`, and with a look at the page between two steps.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"


def test_each_step_can_wait_for_its_reader() -> None:
    """
    Nothing fails where more time passes before each step than the tutorial's breaker stays open, on one loop for all.
    """
    steps = re.findall(r"^```python\n(.*?)^```$", TUTORIAL.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {"__name__": "__main__", "asyncio": asyncio}

    async def console() -> None:
        # As `python -m asyncio` does it. That itself reads no function from a pipe on Python 3.13.
        for step in steps:
            await asyncio.sleep(0.4)
            typed_in = compile(step, "<console>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
            ended = eval(typed_in, names)
            if inspect.iscoroutine(ended):
                await ended

    asyncio.run(console())

    assert 6 < len(steps)
