"""
Sinks that lead events elsewhere: to logs, traces and metrics. Each is a module of its own, imported where it is used.
"""
