"""
docs/architecture.md names each room of the house, and no other.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "hungframe"
EXAMPLE = ROOT / "examples" / "images"


def test_the_rooms_are_the_tree() -> None:
    """
    A module that is added, renamed or removed is so in "Rooms" as well; of the example its services are rooms.
    """
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = text.partition("\n## Rooms\n")[2].partition("\n## ")[0]
    heads = re.findall(r"^- (`[^:]+`):", rooms, re.MULTILINE)
    named = {name.rstrip("/") for head in heads for name in re.findall(r"`([^`]+)`", head)}

    files = (path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
    modules = {path.with_suffix("").as_posix() for path in files if not path.name.startswith("__")}
    folders = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*") if path.is_dir()}
    services = {f"examples/images/{path.stem}" for path in EXAMPLE.iterdir() if not path.name.startswith("_")}

    assert set() == (modules | services | {"pytest_hungframe"}) - named
    assert set() == named - modules - folders - services - {"pytest_hungframe"}
