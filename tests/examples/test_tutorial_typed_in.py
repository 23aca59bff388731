"""
The tutorial as a reader does it: typed into `python -m asyncio`, and with a look at the page between two steps.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"


def test_each_step_can_wait_for_its_reader() -> None:
    """
    Nothing fails where more time passes before each step than the tutorial's breaker stays open.
    """
    steps = re.findall(r"^```python\n(.*?)^```$", TUTORIAL.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    typed_in = "".join(f"{step}\nawait asyncio.sleep(0.4)\n" for step in steps)

    console = subprocess.run(
        [sys.executable, "-m", "asyncio"],
        input=f"{typed_in}print('all', 'typed in')\n",
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )

    assert "Error" not in console.stderr, console.stderr
    assert "all typed in" in console.stdout
