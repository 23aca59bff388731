"""
A thousand requests cancelled in the middle, 25 at once through a pool of 10: the pool is as good as new.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hungframe.testing import HostileProvider
from tests.transport.abort_helpers import Side, body_generators
from tests.transport.abort_worn import Told, cancelled_often

pytestmark = body_generators

ROOT = Path(__file__).parents[2]


def ours(library: str, kind: str, tls: bool) -> Told:
    """
    Wear out one of ours; it answers about as fast as its clients lose patience.
    """
    side = Side(library, kind)
    with HostileProvider("sleep:0.01", tls=tls) as provider:
        told = side.run(lambda: cancelled_often(side, provider, is_stock=False))
        assert provider.wait_closed(1.0)
    return told


def check_as_new(told: Told) -> None:
    """
    Check that no connection is in use, that the next request succeeds, and that the server agrees.
    """
    assert (0, 0, True) == (told.active, told.requests, told.next_request), told
    assert told.server_open <= told.connections + 1


@pytest.mark.parametrize(
    ("library", "tls", "kind"),
    [("httpx", True, "asyncio"), ("httpx2", True, "trio"), ("httpx2", False, "asyncio"), ("httpx2", False, "trio")],
)
def test_ours_where_stock_comes_through_as_well_at_times(library: str, tls: bool, kind: str) -> None:
    """
    httpx2 keeps count in the plain; under TLS it is a matter of when a handshake is cancelled.
    """
    check_as_new(ours(library, kind, tls))


def worn(*arguments: str) -> Told:
    """
    The same in a process of its own.
    """
    command = [sys.executable, "-W", "ignore", "-m", "tests.transport.abort_worn", *arguments]
    # What a stock client leaves on trio is complained of on stderr.
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return Told(*json.loads(ran.stdout))


# httpcore 1 loses count of a connection that is cancelled while it is being
# made (encode/httpcore#1093); that of httpx2 keeps count, and leaves the socket
# of a handshake open that was cancelled.
@pytest.mark.parametrize(
    ("library", "tls", "kind"),
    [
        ("httpx", "plain", "asyncio"),
        ("httpx", "tls", "trio"),
        ("httpx2", "tls", "asyncio"),
    ],
)
def test_what_stock_makes_of_it(library: str, tls: str, kind: str) -> None:
    """
    Beside ours the stock client, so that it is known why all this is done.
    """
    stock = worn(library, kind, tls, "stock")

    check_as_new(ours(library, kind, tls == "tls"))
    wedged = stock.active or stock.requests or not stock.next_request
    leaked = stock.server_open > stock.connections + 1
    if not (wedged or leaked):
        pytest.skip(f"the stock {library} has come through it this time: {stock}")
