"""
Sinks that lead events elsewhere: to logs, traces and metrics. Each is a module of its own, imported where it is used.
"""

from hungframe.telemetry.queued import QueuedSink

__all__ = ["QueuedSink"]
