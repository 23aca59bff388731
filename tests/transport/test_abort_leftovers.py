"""
After 1,000 aborted requests everything is back where it was; after 10,000 as well, where there is time for that.

    HUNGFRAME_ABORTS=10000 pytest tests/transport/test_abort_leftovers.py
"""

from __future__ import annotations

import os

import pytest

from benchmarks.leftovers import FIGURES, measure
from tests.transport.abort_helpers import linux_only

ABORTS = int(os.environ.get("HUNGFRAME_ABORTS", "1000"))
CELLS = [("httpx", "plain"), ("httpx2", "tls")]
if ABORTS > 1000:
    CELLS += [("httpx", "tls"), ("httpx2", "plain")]


@linux_only
@pytest.mark.parametrize(("library", "scheme"), CELLS)
def test_nothing_is_left(library: str, scheme: str) -> None:
    """
    Descriptors, tasks, threads, the kernel's sockets of both ends, memory, the pool; and the next request succeeds.
    """
    before, after = measure(library, scheme, "ours", ABORTS)

    assert set(FIGURES) == set(before) == set(after)
    # The one connection that the next request was made on.
    for figure in ("descriptors", "tasks", "threads", "ESTABLISHED"):
        assert before[figure] >= after[figure], (figure, before, after)
    for state in ("FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT"):
        assert 0 == after[state], (state, after)
    # Not one a request; a provider that closes first has its own.
    assert after["TIME-WAIT"] < 10, after
    assert after["RSS in MB"] - before["RSS in MB"] < 15, (before, after)
    assert (0, 1) == (after["pool: in use"], after["next request"])
