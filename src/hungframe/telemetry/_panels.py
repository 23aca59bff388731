"""
What the dashboard shows, row by row. A panel is a title, a sentence, a unit and its queries.
"""

from __future__ import annotations

from dataclasses import dataclass

STATES = {
    "closed": (0, "#56A64B"),
    "half_open": (1, "#F2CC0C"),
    "open": (2, "#E02F44"),
    "forced_open": (3, "#8F3BB8"),
    "disabled": (4, "#8E8E8E"),
}
"""Number and colour of each state of a breaker."""

_FAILED = 'outcome!~"success|rejected|cancelled"'
_RAN = 'outcome!~"rejected|cancelled"'


@dataclass(frozen=True, slots=True)
class Panel:
    """
    One picture: *queries* are pairs of what is asked and how each line of the answer is called.
    """

    title: str
    description: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False
    levels: tuple[float, ...] = ()


class Metrics:
    """
    Queries of the guards that were chosen, by the names of metrics.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def __call__(self, name: str, *more: str) -> str:
        """
        The series of a metric.
        """
        chosen = ", ".join(('guard=~"$guard"', *more))
        return f"{self.namespace}_{name}{{{chosen}}}"

    def rate(self, name: str, *more: str, by: str = "guard") -> str:
        """
        What a counter gains a second.
        """
        return f"sum by ({by}) (rate({self(name, *more)}[$__rate_interval]))"

    def sum(self, name: str, by: str = "guard") -> str:
        """
        What a gauge is now, of all instances together.
        """
        return f"sum by ({by}) ({self(name)})"


def rows(namespace: str) -> tuple[tuple[str, tuple[Panel, ...]], ...]:
    """
    All panels, in rows that have a title. *namespace* begins the names of the metrics.
    """
    of = Metrics(namespace)
    return (
        ("At a glance", _glance()),
        ("Calls", _calls(of)),
        ("Breaker", _breaker(of)),
        ("Time", _time(of)),
        ("Budget, orphans, queue", _rest(of)),
    )


def _glance() -> tuple[Panel, ...]:
    return (
        Panel(
            "Timed out, 15 minutes",
            "Share of the calls that were let through. More than 5 % is an alert.",
            (('max by (guard) (gen_timeout_rate_15m{guard=~"$guard"})', "{{guard}}"),),
            unit="percentunit",
            kind="stat",
            levels=(0.02, 0.05),
        ),
        Panel(
            "Breaker open, 24 hours",
            "Of the instance where it was open longest. More than 120 s is an alert.",
            (('max by (guard) (gen_breaker_open_seconds_1d{guard=~"$guard"})', "{{guard}}"),),
            unit="s",
            kind="stat",
            levels=(60, 120),
        ),
        Panel(
            "Alerts",
            "Those that wait to be told, and those that are.",
            (('ALERTS{alertname=~"Hungframe.*"}', ""),),
            kind="table",
        ),
    )


def _calls(of: Metrics) -> tuple[Panel, ...]:
    return (
        Panel(
            "Requests",
            "Calls asked for, and those that succeeded, per second.",
            (
                (of.rate("requests_total"), "{{guard}} asked for"),
                (of.rate("results_total", 'outcome="success"'), "{{guard}} succeeded"),
            ),
            unit="reqps",
        ),
        Panel(
            "Failures by kind",
            "Calls that ran and failed, per second.",
            ((of.rate("results_total", _FAILED, by="outcome"), "{{outcome}}"),),
            unit="reqps",
            stacked=True,
        ),
        Panel(
            "Refused, by reason",
            "Calls that never reached the provider, per second.",
            ((of.rate("rejected_total", by="reason") + " > 0", "{{reason}}"),),
            unit="reqps",
            stacked=True,
        ),
        Panel(
            "Failure rate",
            "Share of the calls that ran and failed.",
            ((f"{of.rate('results_total', _FAILED)} / ({of.rate('results_total', _RAN)} > 0)", "{{guard}}"),),
            unit="percentunit",
        ),
        Panel(
            "Attempts around a call",
            "Retries, hedges and fallbacks, per second.",
            (
                (of.rate("retries_total"), "{{guard}} retries"),
                (of.rate("hedges_total"), "{{guard}} hedges"),
                (of.rate("fallbacks_total"), "{{guard}} fallbacks"),
            ),
            unit="reqps",
        ),
        Panel(
            "Calls in flight",
            "Those that run, and those that have taken suspiciously long.",
            (
                (of.sum("in_flight"), "{{guard}} in flight"),
                (of.sum("suspects"), "{{guard}} suspects"),
            ),
        ),
    )


def _breaker(of: Metrics) -> tuple[Panel, ...]:
    one = {state: of("breaker_state", f'state="{state}"') for state in STATES}
    states = " or ".join(f"{number} * clamp_max({one[state]}, 1)" for state, (number, _) in STATES.items())
    return (
        Panel(
            "Breaker state",
            "The worst of all processes.",
            ((f"max by (guard) ({states})", "{{guard}}"),),
            kind="state-timeline",
            width=16,
        ),
        Panel(
            "Probes",
            "How the probes of a prober ended, per second.",
            ((of.rate("probes_total", by="outcome") + " > 0", "{{outcome}}"),),
            stacked=True,
        ),
    )


def _time(of: Metrics) -> tuple[Panel, ...]:
    buckets = of.rate("call_duration_seconds_bucket", 'result="success"', by="le")
    return (
        Panel(
            "Timeout and P95",
            "What the next call would be given, and what was learned of how long calls take.",
            (
                (f"max by (guard) ({of('timeout_seconds')})", "{{guard}} timeout"),
                (f"max by (guard) ({of('p95_seconds')})", "{{guard}} P95"),
            ),
            unit="s",
        ),
        Panel(
            "Duration",
            "Of calls that succeeded: half of them, 95 and 99 of a hundred.",
            tuple((f"histogram_quantile({q}, {buckets})", f"{q * 100:g} %") for q in (0.5, 0.95, 0.99)),
            unit="s",
        ),
        Panel(
            "Where the time went",
            "Seconds per second: waited to be let in, paused, and the event loop blocked.",
            (
                (of.rate("waited_seconds_total"), "{{guard}} waited"),
                (of.rate("budget_paused_seconds_total"), "{{guard}} paused"),
                (of.rate("loop_blocked_seconds_total"), "{{guard}} loop blocked"),
            ),
            unit="s",
        ),
    )


def _rest(of: Metrics) -> tuple[Panel, ...]:
    return (
        Panel(
            "Budget",
            "Whole tokens that the scarcest budget has, of all processes together.",
            ((of.sum("budget_available"), "{{guard}}"),),
            width=6,
        ),
        Panel(
            "Orphans",
            "Callees left behind that still run, and how many are left behind a second.",
            (
                (of.sum("orphans"), "{{guard}}"),
                (of.rate("abandoned_total"), "{{guard}} a second"),
            ),
            width=6,
        ),
        Panel(
            "Queue",
            "Calls that wait to be let in, and those a second that were refused instead of waiting on.",
            (
                (of.sum("waiting"), "{{guard}} waiting"),
                (of.rate("rejected_total", 'reason=~"budget_.*|bulkhead_full"'), "{{guard}} refused"),
            ),
            width=6,
        ),
        Panel(
            "Dead letters by reason",
            # A reason is met first with its first job, and from nothing to 1 is no increase.
            "Jobs given up for good, since the processes began.",
            ((of.sum("dead_letters_total", by="reason"), "{{reason}}"),),
            stacked=True,
            width=6,
        ),
        Panel(
            "Telemetry itself",
            "Errors of sinks and ports, and events that a full queue dropped, per second.",
            (
                (of.rate("faults_total"), "{{guard}} faults"),
                # Queues belong to no guard.
                (f"sum (rate({of.namespace}_sink_dropped_events_total[$__rate_interval]))", "dropped events"),
            ),
            width=24,
        ),
    )
