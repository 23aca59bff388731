"""
The pure core: decisions about calls, as plain state machines.

Nothing here reads a clock, takes a lock, or awaits. Time comes in as `now`,
seconds on any clock that does not run backwards.
"""
