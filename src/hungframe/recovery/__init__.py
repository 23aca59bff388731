"""
Find out in the background that the provider is well again, so that no user's call has to.
"""

from hungframe.recovery.prober import Prober
from hungframe.recovery.results import CurrentProbe, ProbeResult, current_probe

__all__ = ["CurrentProbe", "ProbeResult", "Prober", "current_probe"]
