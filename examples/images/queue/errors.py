"""
What the queue raises by itself; what the database raises passes through as it is.
"""

from __future__ import annotations


class LeaseLostError(Exception):
    """
    The job belongs to another worker by now, or to nobody: what was done for it must not be stored.
    """
