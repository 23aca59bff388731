"""
The terminal and the page in the browser say the same of refusals, and of pauses.
"""

from __future__ import annotations

import re
from pathlib import Path

from hungframe import health
from hungframe.cli.top.words import sentence

WORDS_JS = Path(health.__file__).parent / "static" / "words.js"


def test_a_refusal_reads_alike() -> None:
    """
    Each reason has the same words; those of a pause accuse no provider, as `Guard.pause()` makes one, too.
    """
    table = re.search(r"const REASONS = \{(.*?)\};", WORDS_JS.read_text(encoding="utf-8"), re.DOTALL)
    assert table is not None
    in_the_page = dict(re.findall(r'(\w+): "([^"]+)"', table[1]))

    assert "paused, after a 429 or by hand" == in_the_page["budget_paused"]
    for reason, words in in_the_page.items():
        assert ("soft", f"Refused: {words}") == sentence({"evt": "gen.reject", "reason": reason})
    assert "Paused for 5 s, after a 429 or by hand" == sentence({"evt": "budget.paused", "pausedMs": 5000})[1]
