"""
What a guarded call may be called with that is no call: a mistake of the program, not of the provider.
"""

from __future__ import annotations


class NotGuardedError(TypeError):
    """
    No call was made, or none whose result is known: it proves nothing, and counts as cancelled.
    """
