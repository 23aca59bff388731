"""
Takes jobs when the guard permits it, and sees that each ends once.

A `Worker` (run) is a poller that asks the guard before the queue (poller), the jobs it has started (running, job), and
what runs beside them: one heartbeat for all (heartbeat), a reaper (reaper), posts to the health board and news of dead
letters (telling), the log of the probes (probes). Nothing waits without a limit (waiting), an image that is paid for is
not thrown away because the database is gone for a moment (insist), and the first signal asks for an end, the second one
insists (signals)::

    with stop_at_signals() as stop:
        await Worker("w1", guard, queue, images, frames, verdict).run(stop)

Budget and breaker are those of the guard it is given, and so of its process: two processes have two budgets, unless
their guards share one. It needs a guard without `retry` and `hedge`: a permit is one attempt, and it is the queue that
tries again.
"""

from examples.images.worker.pace import Pace
from examples.images.worker.probes import ProbeLane
from examples.images.worker.run import Worker
from examples.images.worker.signals import stop_at_signals
from examples.images.worker.tally import Tally

__all__ = ["Pace", "ProbeLane", "Tally", "Worker", "stop_at_signals"]
