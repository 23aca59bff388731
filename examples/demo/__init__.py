"""
A provider hangs, with and without a guard: `python -m examples.demo`, or `make demo`.

The real `openai` package talks to a provider on the loopback interface that misbehaves on cue. Two services run the
same script with the same client side by side; one of them has a `Guard` around the call.

- `pace.py`     how fast time passes, and the settings at that pace
- `record.py`   what is noted down: calls, moments, counts
- `lane.py`     one service: its provider, its client, its workers
- `story.py`    the script
- `checks.py`   whether what is told is what happened
- `screen.py`   how it looks in a terminal, `summary.py` the table, `picture.py` the timeline
"""
