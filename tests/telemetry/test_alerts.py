"""
Alert rules: Prometheus reads them, each fires for what it is for, and is silent for what looks alike.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from hungframe.telemetry.alerts import Thresholds, rules
from tests.telemetry.programs import run

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "alert-on-hangs.md"
Case = tuple[str, str, dict[str, str], int, bool]
JOB = 'job="draw", instance="a:1", guard="images"'
SEVERITY = {
    "HungframeTimeoutRateHigh": "page",
    "HungframeBreakerOpenTooLong": "page",
    "HungframeBudgetExhausted": "ticket",
    "HungframeOrphansGrowing": "ticket",
    "HungframeProbeFailing": "ticket",
}


def results(**per_minute: str) -> dict[str, str]:
    """
    Series of results by outcome.
    """
    return {f'hungframe_results_total{{{JOB}, outcome="{outcome}"}}': values for outcome, values in per_minute.items()}


def rejected(requests: str, **reasons: str) -> dict[str, str]:
    """
    Series of requests, and of refusals by reason.
    """
    return {
        f"hungframe_requests_total{{{JOB}}}": requests,
        **{f'hungframe_rejected_total{{{JOB}, reason="{reason}"}}': values for reason, values in reasons.items()},
    }


def opened(seconds: str, closed: str, is_open: str = "0x3000") -> dict[str, str]:
    """
    Series of the time open, and of how many processes are in which state.
    """
    return {
        f"hungframe_breaker_open_seconds_total{{{JOB}}}": seconds,
        f'hungframe_breaker_state{{{JOB}, state="closed"}}': closed,
        f'hungframe_breaker_state{{{JOB}, state="open"}}': is_open,
    }


def orphans(values: str) -> dict[str, str]:
    """
    Series of callees that were left behind.
    """
    return {f"hungframe_orphans{{{JOB}}}": values}


def probes(**outcomes: str) -> dict[str, str]:
    """
    Series of probes by outcome.
    """
    return {f'hungframe_probes_total{{{JOB}, outcome="{outcome}"}}': values for outcome, values in outcomes.items()}


@pytest.fixture(scope="module")
def rule_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rules") / "hungframe.yml"
    path.write_text(rules())
    return path


# Of each: what it is, the alert, the series, the minute at which it is looked for, whether it is to fire. Values are as
# promtool writes them: `0+2x20` begins at 0 and gains 2 in each of 20 steps, `5x10` is 5 eleven times.
BY_MINUTE: list[Case] = [
    ("one of ten times out", "TimeoutRateHigh", results(timeout="0+1x30", success="0+9x30"), 20, True),
    ("6 % time out", "TimeoutRateHigh", results(timeout="0+6x30", success="0+94x30"), 20, True),
    ("4 % time out", "TimeoutRateHigh", results(timeout="0+4x30", success="0+96x30"), 20, False),
    (
        "refusals do not hide timeouts",
        "TimeoutRateHigh",
        results(timeout="0+1x30", success="0+9x30", rejected="0+900x30", cancelled="0+900x30"),
        20,
        True,
    ),
    ("all three calls time out", "TimeoutRateHigh", results(timeout="0 1 2 3x30", success="0x33"), 6, True),
    ("two calls only", "TimeoutRateHigh", results(timeout="0x14 1x16", success="0x8 1x22"), 20, False),
    ("over since 25 minutes", "TimeoutRateHigh", results(timeout="0+5x10 50x40", success="0+10x50"), 40, False),
    ("other failures", "TimeoutRateHigh", results(timeout="0x30", connection="0+5x30"), 20, False),
    ("still open", "BreakerOpenTooLong", opened("0x9 0+60x10", "1x9 0x10", "0x9 1x10"), 15, True),
    ("open for a minute", "BreakerOpenTooLong", opened("0x9 0+60x1 60x10", "1x9 0x1 1x10"), 20, False),
    ("a fifth refused", "BudgetExhausted", rejected("0+10x30", budget_exhausted="0+2x30"), 25, True),
    ("a fifth in a pause", "BudgetExhausted", rejected("0+10x30", budget_paused="0+2x30"), 25, True),
    (
        "9 % refused",
        "BudgetExhausted",
        rejected("0+100x30", budget_exhausted="0+5x30", budget_paused="0+4x30"),
        25,
        False,
    ),
    ("refused by the breaker", "BudgetExhausted", rejected("0+10x30", circuit_open="0+9x30"), 25, False),
    ("one more a minute", "OrphansGrowing", orphans("0+1x30"), 20, True),
    ("many, and no more", "OrphansGrowing", orphans("20x60"), 50, False),
    ("fewer", "OrphansGrowing", orphans("30-1x30"), 20, False),
    ("few", "OrphansGrowing", orphans("0x10 1x10 2x10 3x10 4x10"), 45, False),
    ("none goes well", "ProbeFailing", probes(timeout="0+1x30", success="0x30"), 15, True),
    ("the quota is used up", "ProbeFailing", probes(quota="0+1x30", success="0x30"), 15, True),
    ("half of them go well", "ProbeFailing", probes(timeout="0+1x30", success="0+1x30"), 15, False),
    ("two failed", "ProbeFailing", probes(timeout="0 1 2x30", success="0x30"), 15, False),
    ("probes were cancelled", "ProbeFailing", probes(cancelled="0+1x30", success="0x30"), 15, False),
]
# In steps of ten minutes, since these take a day.
BY_TEN_MINUTES: list[Case] = [
    ("130 s", "BreakerOpenTooLong", opened("0+60x2 130x60", "1x63"), 600, True),
    ("110 s", "BreakerOpenTooLong", opened("0+55x2 110x60", "1x63"), 600, False),
    ("yesterday", "BreakerOpenTooLong", opened("0+60x5 300x160", "1x166"), 1550, False),
    ("4 processes, 100 s each", "BreakerOpenTooLong", opened("0+80x5 400x60", "4x66"), 600, False),
    ("4 processes, 150 s each", "BreakerOpenTooLong", opened("0+120x5 600x60", "4x66"), 600, True),
]


@pytest.mark.parametrize("step, cases", [("1m", BY_MINUTE), ("10m", BY_TEN_MINUTES)], ids=["in an hour", "in a day"])
def test_alerts(rule_file: Path, tmp_path: Path, step: str, cases: list[Case]) -> None:
    """
    Each alert fires for what it is for, with its severity and labels, and not for what looks alike.
    """
    # All at once, because a run of promtool costs more than a case; a failure names the guard, which is the case.
    tests = [
        {
            "interval": step,
            "input_series": [
                {"series": name.replace('"images"', f'"{what}"'), "values": values} for name, values in series.items()
            ],
            "promql_expr_test": [
                {
                    "expr": f'ALERTS{{alertstate="firing", alertname="Hungframe{alert}"}}',
                    "eval_time": f"{minute}m",
                    "exp_samples": [{"labels": fired(f"Hungframe{alert}", what), "value": 1}] if fires else [],
                }
            ],
        }
        for what, alert, series, minute, fires in cases
    ]
    path = tmp_path / "test.yml"
    # JSON is YAML.
    path.write_text(json.dumps({"rule_files": [str(rule_file)], "evaluation_interval": step, "tests": tests}))

    run("promtool", "test", "rules", str(path))


def fired(alert: str, guard: str) -> str:
    """
    The series of an alert that fires.
    """
    labels = {"alertname": alert, "alertstate": "firing", "guard": guard, "job": "draw", "severity": SEVERITY[alert]}
    if alert in ("HungframeBreakerOpenTooLong", "HungframeOrphansGrowing"):
        labels["instance"] = "a:1"
    return "ALERTS{" + ", ".join(f'{key}="{label}"' for key, label in labels.items()) + "}"


def test_every_alert_fires_in_some_test_and_is_silent_in_another() -> None:
    """
    No rule is added without both.
    """
    tried = {(f"Hungframe{alert}", fires) for _, alert, _, _, fires in (*BY_MINUTE, *BY_TEN_MINUTES)}
    assert {(alert, fires) for alert in re.findall(r"alert: (\w+)", rules()) for fires in (True, False)} == tried


@pytest.mark.parametrize("namespace", ["hungframe", "pictures_2"])
def test_prometheus_reads_the_rules(tmp_path: Path, namespace: str) -> None:
    """
    promtool finds nothing wrong, with other numbers and another namespace either.
    """
    path = tmp_path / "rules.yml"
    path.write_text(rules(Thresholds(timeout_rate=0.015, open_seconds=1e6, orphans=0), namespace=namespace))

    assert "SUCCESS: 7 rules found" in run("promtool", "check", "rules", str(path))


def test_each_alert_says_what_to_do() -> None:
    """
    Severity, time, a summary, a description and a hint: none is left out.
    """
    alerts = rules().split("- alert: ")[1:]
    assert list(SEVERITY) == [alert.split("\n")[0] for alert in alerts]
    for alert in alerts:
        for key in ("for: ", "severity: ", "summary: ", "description: ", "hint: "):
            assert 1 == len(re.findall(rf"^ +{key}", alert, re.MULTILINE)), (key, alert)


def test_thresholds_are_in_the_rules() -> None:
    """
    Each threshold changes the rules, and what is said of them.
    """
    for field in dataclasses.fields(Thresholds):
        changed = dataclasses.replace(Thresholds(), **{field.name: 0.77})
        assert rules() != rules(changed)
        assert "0.77" in rules(changed)


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("timeout_rate", 5, r"timeout_rate must be in \(0, 1\), got 5"),
        ("budget_rate", 0, r"budget_rate must be in \(0, 1\), got 0"),
        ("open_seconds", -1, "open_seconds must be"),
        ("orphans", float("nan"), "orphans must be"),
    ],
)
def test_bad_thresholds(name: str, value: float, message: str) -> None:
    """
    A threshold that could never be met, or always is, is refused.
    """
    with pytest.raises(ValueError, match=message):
        Thresholds(**{name: value})


def test_bad_namespace() -> None:
    """
    What could not begin a metric's name, and might end a rule, is refused.
    """
    with pytest.raises(
        ValueError, match="namespace must be letters, digits and '_', such as 'hungframe', got 'a\\\\nb'"
    ):
        rules(namespace="a\nb")


def block(file: str) -> str:
    """
    A file that the how-to shows.
    """
    found = re.search(rf"```yaml\n(# {re.escape(file)}\n.*?)```", PAGE.read_text(), re.DOTALL)
    assert found
    return found[1]


def test_alertmanager_example(tmp_path: Path) -> None:
    """
    The example routes those that page to who is on call, and the rest to tickets.
    """
    path = tmp_path / "alertmanager.yml"
    path.write_text(block("alertmanager.yml"))

    assert "SUCCESS" in run("amtool", "check-config", str(path))
    for alert, severity in SEVERITY.items():
        labels = (f"alertname={alert}", f"severity={severity}", "guard=images")
        said = run("amtool", "config", "routes", "test", f"--config.file={path}", *labels)
        assert {"page": "on-call", "ticket": "tickets"}[severity] == said.strip()


def test_prometheus_example(tmp_path: Path) -> None:
    """
    The configuration that the how-to shows loads the rules.
    """
    (tmp_path / "hungframe.yml").write_text(rules())
    path = tmp_path / "prometheus.yml"
    path.write_text(block("prometheus.yml"))

    assert "7 rules found" in run("promtool", "check", "config", str(path))


def test_the_how_to_names_each_alert() -> None:
    """
    Its table has every alert with its severity.
    """
    rows = dict(re.findall(r"^\| `(Hungframe\w+)` \|.*\| (\w+) \|$", PAGE.read_text(), re.MULTILINE))
    assert SEVERITY == rows
