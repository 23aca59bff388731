"""
A sink that writes events to a logger of the standard library.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from hungframe import events
from hungframe.events import Event
from hungframe.telemetry.schema import event_classes

LEVELS: Final[Mapping[str, int]] = {
    "gen.request": logging.DEBUG,
    "gen.success": logging.DEBUG,
    "gen.cancelled": logging.INFO,
    "gen.retry": logging.INFO,
    "gen.hedge": logging.INFO,
    "gen.fail": logging.WARNING,
    "gen.reject": logging.WARNING,
    "gen.fallback": logging.WARNING,
    "gen.abandoned": logging.WARNING,
    "breaker.state": logging.WARNING,
    "breaker.state:closed": logging.INFO,
    "breaker.state:open": logging.ERROR,
    "operator.action": logging.WARNING,
    "budget.paused": logging.WARNING,
    "probe.scheduled": logging.INFO,
    "probe.result": logging.WARNING,
    "probe.result:success": logging.INFO,
    "loop.blocked": logging.ERROR,
    "queue.deadletter": logging.ERROR,
}
"""The level of each event; `evt:word` of one with that state, kind, outcome or reason."""

# The attribute by which events of one kind differ in weight.
_WORDS: Final = {
    "gen.fail": "kind",
    "gen.retry": "kind",
    "gen.fallback": "kind",
    "gen.reject": "reason",
    "breaker.state": "state",
    "operator.action": "action",
    "probe.scheduled": "kind",
    "probe.result": "outcome",
    "queue.deadletter": "reason",
}


class LogSink:
    """
    Write each event to a logger: a sentence for people, and its fields in `extra` for machines.

    The fields have the keys of the event's JSON (`evt`, `guard`, `id`, `latencyMs`, ...), none of which a `LogRecord`
    has itself, so any JSON formatter and structlog's `ExtraAdder` find them. Sentence and numbers come apart, as
    template and arguments, so that what groups by template (Sentry, say) groups rightly. What the logger would drop
    is neither put into words nor into a record.

    A handler that blocks delays the call: put a `QueuedSink` around this one, or a `logging.handlers.QueueHandler`
    behind it.

    Args:
        logger: Where to; `logging.getLogger("hungframe.events")` by default.

        levels: Overrides `LEVELS`, by `evt` or by `evt:word`: `{"gen.success": logging.INFO, "gen.fail:4xx":
            logging.INFO}`. None: such events are not written. The more precise key wins, wherever it stands.

    Raises:
        TypeError: If *logger* is no `logging.Logger`, or a level is neither a whole number nor None.

        ValueError: If a key of *levels* names no event, or a word of an event that has none.

    >>> import sys
    >>> from hungframe import Guard
    >>> logger = logging.getLogger("doc")
    >>> logger.addHandler(logging.StreamHandler(sys.stdout))
    >>> Guard("images", sinks=[LogSink(logger, {"gen.success": logging.WARNING})]).call(str.upper, "done")
    guard 'images': call succeeded after ... s
    'DONE'
    """

    def __init__(self, logger: logging.Logger | None = None, levels: Mapping[str, int | None] | None = None) -> None:
        if logger is not None and not isinstance(logger, logging.Logger):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"logger must be a logging.Logger, got {logger!r}; a LoggerAdapter would replace the event's fields, "
                "and of structlog give the standard logger that it ends in"
            )
        self._logger = logging.getLogger("hungframe.events") if logger is None else logger
        self._levels: dict[str, int | None] = {**LEVELS, **_checked(levels or {})}

    def __call__(self, event: Event) -> None:
        level = self.level_of(event)
        logger = self._logger
        if level is not None and logger.isEnabledFor(level):
            template, values = _sentence(event)
            logger.log(level, template, *values, extra=event.to_dict())

    def level_of(self, event: Event) -> int | None:
        """
        At which level *event* is written; None: not at all.

        An event of your own, which no key names, is written at INFO.
        """
        levels, evt = self._levels, event.evt
        level = levels.get(evt, logging.INFO)
        word = _WORDS.get(evt)
        return level if word is None else levels.get(f"{evt}:{getattr(event, word)}", level)


def _checked(levels: Mapping[str, int | None]) -> Mapping[str, int | None]:
    known = [kind.evt for kind in event_classes()]
    for key, level in levels.items():
        evt, colon, _ = key.partition(":")
        if evt not in known:
            raise ValueError(f"levels: no event is named {evt!r}, got the key {key!r}; there are {', '.join(known)}")
        if colon and evt not in _WORDS:
            raise ValueError(f"levels: {evt} has no word to tell apart, got the key {key!r}; use {evt!r}")
        if level is not None and type(level) is not int:
            raise TypeError(f"levels[{key!r}] must be a level such as logging.INFO, or None, got {level!r}")
    return levels


# -- sentences ---------------------------------------------------------------

Sentence = tuple[str, tuple[object, ...]]


def _sentence(event: Event) -> Sentence:
    """
    Say what happened: a template that is the same for all events of a kind, and what goes into it.
    """
    say = _SENTENCES.get(type(event))
    template, values = ("%s", (event.evt,)) if say is None else say(event)
    return "guard %r: " + template, (event.guard, *values)


def _request(event: events.GenRequest) -> Sentence:
    if event.timeout_ms is None:
        return "call asked for, without a deadline", ()
    return "call asked for, with %.3f s to answer", (event.timeout_ms / 1000,)


def _fail(event: events.GenFail) -> Sentence:
    template, values = "call failed after %.3f s: %s", (event.latency_ms / 1000, event.kind)
    if event.where is None:
        return template, values
    if not event.where:
        return template + "; it was aborted (%s)", (*values, event.receipt)
    return template + "; it was aborted (%s) in %s", (*values, event.receipt, event.where)


def _abandoned(event: events.GenAbandoned) -> Sentence:
    if not event.where:
        return "callee left behind; %d run now", (event.orphans,)
    return "callee left behind in %s; %d run now", (event.where, event.orphans)


def _reject(event: events.GenReject) -> Sentence:
    if event.retry_after_ms is None:
        return "call refused: %s", (event.reason,)
    return "call refused: %s; retry in %.3f s", (event.reason, event.retry_after_ms / 1000)


def _state(event: events.BreakerChanged) -> Sentence:
    if event.failure_rate is None:
        return "breaker is %s", (event.state,)
    return "breaker is %s, at a failure rate of %.2f", (event.state, event.failure_rate)


def _scheduled(event: events.ProbeScheduled) -> Sentence:
    if event.in_ms is None:
        return "provider is to be probed (%s), nobody knows when", (event.kind,)
    return "provider is to be probed (%s) in %.3f s", (event.kind, event.in_ms / 1000)


_SENTENCES: Final[Mapping[type[Event], Callable[[Any], Sentence]]] = {
    events.GenRequest: _request,
    events.GenSuccess: lambda e: ("call succeeded after %.3f s", (e.latency_ms / 1000,)),
    events.GenFail: _fail,
    events.GenReject: _reject,
    events.GenCancelled: lambda e: ("call cancelled by its caller after %.3f s", (e.latency_ms / 1000,)),
    events.GenRetry: lambda e: ("attempt failed: %s; attempt %d in %.3f s", (e.kind, e.attempt, e.delay_ms / 1000)),
    events.GenHedge: lambda e: ("no answer after %.3f s; attempt %d sent beside", (e.after_ms / 1000, e.attempt)),
    events.GenFallback: lambda e: ("call failed for good: %s; its caller was given something else", (e.kind,)),
    events.GenAbandoned: _abandoned,
    events.BreakerChanged: _state,
    events.OperatorActed: lambda e: ("an operator did %s on the health page", (e.action,)),
    events.BudgetPaused: lambda e: ("calls are paused for %.3f s, after a 429 or by hand", (e.paused_ms / 1000,)),
    events.ProbeScheduled: _scheduled,
    events.ProbeEnded: lambda e: ("probe (%s) ended after %.3f s: %s", (e.kind, e.latency_ms / 1000, e.outcome)),
    events.LoopBlocked: lambda e: ("event loop blocked for %.3f s in %s", (e.blocked_ms / 1000, e.where)),
    events.QueueDeadletter: lambda e: ("job %s given up: %s", (e.job_id, e.reason)),
}
