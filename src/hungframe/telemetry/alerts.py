"""
Alert rules for Prometheus, as the text of a rule file.

Each rule stands here as it is written, so that it can be read beside what it is for. No YAML library is needed: what
is put in are numbers, and a namespace that was checked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hungframe._core import check

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """
    From where on somebody is told.

    Raises:
        TypeError: If one is no number.

        ValueError: If one is out of range.

    >>> Thresholds(timeout_rate=5)
    Traceback (most recent call last):
    ValueError: timeout_rate must be in (0, 1), got 5
    """

    timeout_rate: float = 0.05
    """Share of the calls of 15 minutes that timed out, in (0, 1)."""
    min_calls: float = 3
    """Fewer calls in 15 minutes say nothing."""
    open_seconds: float = 120
    """Seconds a day that the breaker was open."""
    budget_rate: float = 0.1
    """Share of the calls of 15 minutes that the budget refused, in (0, 1)."""
    orphans: float = 5
    """Callees that were left behind, where they become more."""
    probes: float = 3
    """Probes of 15 minutes that failed, where none went well."""

    def __post_init__(self) -> None:
        for name in ("timeout_rate", "budget_rate"):
            value = check.number(name, getattr(self, name))
            if not 0 < value < 1:
                raise ValueError(f"{name} must be in (0, 1), got {value!r}")
        for name in ("min_calls", "open_seconds", "orphans", "probes"):
            check.number(name, getattr(self, name), at_least=0)


def rules(thresholds: Thresholds | None = None, namespace: str = "hungframe") -> str:
    """
    Write the rule file.

    Args:
        thresholds: From where on somebody is told.

        namespace: That of the `PrometheusSink`.

    Raises:
        ValueError: If *namespace* cannot begin the name of a metric.

    >>> "alert: HungframeTimeoutRateHigh" in rules()
    True

    .. versionadded:: 0.1.0
    """
    at = Thresholds() if thresholds is None else thresholds
    if not _NAME.fullmatch(namespace):
        raise ValueError(f"namespace must be letters, digits and '_', such as 'hungframe', got {namespace!r}")
    return f"""\
# Written by `hungframe alerts`.
groups:
  - name: {namespace}
    rules:
      # Share of the calls that timed out, of those that were let through and not cancelled: what an open breaker
      # refuses does not make it look better.
      - record: gen_timeout_rate_15m
        expr: |
          sum by (job, guard) (increase({namespace}_results_total{{outcome="timeout"}}[15m]))
          /
          (sum by (job, guard) (increase({namespace}_results_total{{outcome!~"rejected|cancelled"}}[15m])) > 0)

      # Seconds that the breaker was open in the last 24 hours, of each instance. Where one has several processes, the
      # counter adds them up, and the states say how many they are.
      - record: gen_breaker_open_seconds_1d
        expr: |
          increase({namespace}_breaker_open_seconds_total[1d])
          /
          (sum without (state) ({namespace}_breaker_state) > 0)

      - alert: HungframeTimeoutRateHigh
        expr: |
          gen_timeout_rate_15m > {at.timeout_rate:g}
          and
          sum by (job, guard) (increase({namespace}_results_total{{outcome!~"rejected|cancelled"}}[15m]))
            >= {at.min_calls:g}
        for: 2m
        labels:
          severity: page
        annotations:
          summary: 'Calls to {{{{ $labels.guard }}}} time out: {{{{ $value | humanizePercentage }}}} in 15 minutes'
          description: >-
            More than {at.timeout_rate * 100:g} % of the calls through guard {{{{ $labels.guard }}}} of job
            {{{{ $labels.job }}}} had no answer in time, over 15 minutes.
          hint: >-
            Look at the provider's status page, then at where the calls hang: the key `where` of the events gen.fail.
            Is the timeout in force at its ceiling, the provider is slow; is it near its floor, the guard has
            learned from calls that were faster.

      - alert: HungframeBreakerOpenTooLong
        expr: gen_breaker_open_seconds_1d > {at.open_seconds:g}
        for: 1m
        labels:
          severity: page
        annotations:
          summary: >-
            The breaker of {{{{ $labels.guard }}}} was open for {{{{ $value | humanizeDuration }}}} in the last 24 hours
          description: >-
            Guard {{{{ $labels.guard }}}} of {{{{ $labels.instance }}}} refused all calls for more than
            {at.open_seconds:g} s in the last 24 hours. It goes on to say so until the time is below that again.
          hint: >-
            What opened it is in the results by outcome of that time: timeout, 5xx, connection or quota. Does it open
            again and again, the provider is not well, or the breaker's window is too small for how often you call.
            Is its state forced_open, somebody has done that by hand.

      - alert: HungframeBudgetExhausted
        expr: |
          sum by (job, guard) (increase({namespace}_rejected_total{{reason=~"budget_exhausted|budget_paused"}}[15m]))
          /
          (sum by (job, guard) (increase({namespace}_requests_total[15m])) > 0)
            > {at.budget_rate:g}
        for: 5m
        labels:
          severity: ticket
        annotations:
          summary: 'The budget of {{{{ $labels.guard }}}} refuses {{{{ $value | humanizePercentage }}}} of the calls'
          description: >-
            More than {at.budget_rate * 100:g} % of the calls through guard {{{{ $labels.guard }}}} of job
            {{{{ $labels.job }}}} were refused for want of tokens, or during a pause.
          hint: >-
            Reason budget_paused: the provider answers 429, so the budget is larger than what it grants. Reason
            budget_exhausted: there is more to do than the budget allows; ask for a higher quota, or let calls wait
            with on_empty="wait".

      - alert: HungframeOrphansGrowing
        expr: deriv({namespace}_orphans[15m]) > 0 and {namespace}_orphans >= {at.orphans:g}
        for: 5m
        labels:
          severity: ticket
        annotations:
          summary: 'Callees of {{{{ $labels.guard }}}} are left behind and do not end'
          description: >-
            Guard {{{{ $labels.guard }}}} of {{{{ $labels.instance }}}} has at least {at.orphans:g} callees that still
            run after their callers have left, and they become more. At max_orphans calls are refused.
          hint: >-
            Where each hangs is in guard.snapshot().orphan_calls. Give the client a guarded transport, or run
            what cannot be stopped with isolate="process".

      - alert: HungframeProbeFailing
        expr: |
          sum by (job, guard) (increase({namespace}_probes_total{{outcome!~"success|cancelled"}}[15m])) >= {at.probes:g}
          unless
          sum by (job, guard) (increase({namespace}_probes_total{{outcome="success"}}[15m])) > 0
        for: 1m
        labels:
          severity: ticket
        annotations:
          summary: 'The provider of {{{{ $labels.guard }}}} does not come back: no probe has gone well in 15 minutes'
          description: >-
            At least {at.probes:g} probes of guard {{{{ $labels.guard }}}} of job {{{{ $labels.job }}}} have failed in
            15 minutes, and none has gone well, so the breaker stays open.
          hint: >-
            Make the probe's request by hand. Does it go well, the probe itself is wrong: its key, its model, its
            timeout. Does it fail, fall back to another provider until this one is back.
"""
