"""
The testing kit: what hungframe is tested with, for the tests of those who use it.
"""

from hungframe.testing import hostile
from hungframe.testing.clock import VirtualClock
from hungframe.testing.provider import HostileProvider
from hungframe.testing.run import run_virtual
from hungframe.testing.sinks import RecordingSink

__all__ = ["HostileProvider", "RecordingSink", "VirtualClock", "hostile", "run_virtual"]
