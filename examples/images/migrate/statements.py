"""
The migrator's own SQL, one statement a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

SQL: Mapping[str, str] = {path.stem: path.read_text() for path in sorted((Path(__file__).parent / "sql").glob("*.sql"))}
"""
The statements, by the names of their files.
"""
