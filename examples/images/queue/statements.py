"""
The statements of `sql/`, one a file, read once.
"""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "sql"


def _read(name: str) -> bytes:
    return (_FOLDER / f"{name}.sql").read_bytes()


ENQUEUE = _read("enqueue")
PROMOTE = _read("promote")
_CLAIM = _read("claim")
HEARTBEAT = _read("heartbeat")
FENCE = _read("fence")
DONE = _read("done")
FAIL = _read("fail")
BURY = _read("bury")
SNOOZE = _read("snooze")
REAP = _read("reap")
REQUEUE = _read("requeue")
GET = _read("get")
COUNTS = _read("counts")
OLDEST_AGE = _read("oldest_age")


def claim(limit: int) -> bytes:
    """
    Write the statement of a claim with its limit in it.

    A plan that does not know the limit expects a tenth of the table, seems dear, and so the server would plan anew each
    time, which takes as long as the claim itself.
    """
    return _CLAIM.replace(b"%(limit)s", b"%d" % limit)
