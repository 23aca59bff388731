"""
The dashboard: a real Prometheus that scraped real calls answers each of its queries.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hungframe.telemetry.alerts import Thresholds, rules
from hungframe.telemetry.dashboard import dashboard, to_json
from tests.telemetry.programs import program

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 200ms}}
rule_files: [rules.yml]
scrape_configs:
  - job_name: demo
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
# Everything is told at once: what is tried here is that each query and each text fits what was scraped.
LOW = Thresholds(timeout_rate=0.001, min_calls=0, open_seconds=0.01, budget_rate=0.001, orphans=0, probes=0)


class Asked:
    """
    A Prometheus that runs.
    """

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1/"

    def get(self, path: str, **params: str) -> Any:
        with urllib.request.urlopen(f"{self._url}{path}?{urllib.parse.urlencode(params)}", timeout=5) as answer:
            return json.load(answer)["data"]

    def result(self, expr: str) -> list[dict[str, Any]]:
        """
        The answer to a query of a panel, as Grafana asks it when all guards are chosen.
        """
        expr = expr.replace("$guard", ".*").replace("$__rate_interval", "1m")
        result: list[dict[str, Any]] = self.get("query", query=expr)["result"]
        return result


def queries() -> list[tuple[str, str]]:
    """
    Each query of the dashboard, with the title of its panel.
    """
    return [(panel["title"], target["expr"]) for panel in dashboard()["panels"] for target in panel.get("targets", ())]


def is_number(sample: dict[str, Any]) -> bool:
    return sample["value"][1] not in ("NaN", "+Inf", "-Inf")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """
    A Prometheus that scrapes the demo, as long as the tests go on.
    """
    path = program("prometheus")
    pytest.importorskip("prometheus_client", reason="needs prometheus-client")
    pytest.importorskip("httpx", reason="needs httpx")
    from examples.metrics import serving

    directory = tmp_path_factory.mktemp("prometheus")
    (directory / "rules.yml").write_text(rules(LOW))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with serving(0) as (demo, metrics_port), (directory / "log").open("w") as log:
        (directory / "prometheus.yml").write_text(CONFIG.format(port=metrics_port))
        words = [path, f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data"]
        words.append(f"--web.listen-address=127.0.0.1:{port}")
        process = subprocess.Popen(words, stdout=log, stderr=log)
        is_over = threading.Event()

        def rounds() -> None:
            while not is_over.is_set():
                demo.round()

        thread = threading.Thread(target=rounds)
        try:
            prometheus = Asked(port)
            until_ready(prometheus, directory / "log")
            thread.start()
            yield prometheus
        finally:
            is_over.set()
            if thread.ident is not None:
                thread.join()
            process.kill()
            process.wait()


def until_ready(prometheus: Asked, log: Path) -> None:
    """
    Wait for the first scrape. Prometheus looks for its targets 5 s after it was started, and nothing makes that sooner.
    """
    ends_at = time.monotonic() + 30
    while time.monotonic() < ends_at:
        with contextlib.suppress(OSError):
            if prometheus.result('hungframe_requests_total{guard="images"}'):
                return
        time.sleep(0.05)
    raise AssertionError(f"Prometheus has scraped nothing within 30 s:\n{log.read_text()}")


def test_each_query_is_answered(asked: Asked) -> None:
    """
    Each query has an answer, and within it a number.
    """
    silent = queries()
    assert len(silent) > 25
    ends_at = time.monotonic() + 30
    while silent and time.monotonic() < ends_at:
        silent = [(title, expr) for title, expr in silent if not any(map(is_number, asked.result(expr)))]
        time.sleep(0.1)

    assert [] == silent


def test_it_shows_what_happened(asked: Asked) -> None:
    """
    The failures of each kind, the states of a breaker that opened, and reasons of refusal are all among the answers.
    """
    missing = {"timeout", "quota", "5xx", "4xx", "connection", "circuit_open", "budget_exhausted", "no-image-url"}
    ends_at = time.monotonic() + 30
    while missing and time.monotonic() < ends_at:
        for _, expr in queries():
            for sample in asked.result(expr):
                if sample["value"][1] != "0":
                    missing -= set(sample["metric"].values())
        time.sleep(0.1)

    assert set() == missing


def test_alerts_say_whom(asked: Asked) -> None:
    """
    The texts of alerts that wait or fire are complete: Prometheus found every value.
    """
    wanted = {"HungframeTimeoutRateHigh", "HungframeBreakerOpenTooLong", "HungframeBudgetExhausted"}
    ends_at = time.monotonic() + 30
    alerts: list[dict[str, Any]] = []
    while not wanted <= {alert["labels"]["alertname"] for alert in alerts} and time.monotonic() < ends_at:
        alerts = asked.get("alerts")["alerts"]
        time.sleep(0.1)

    assert wanted <= {alert["labels"]["alertname"] for alert in alerts}
    for alert in alerts:
        assert alert["labels"]["guard"] in alert["annotations"]["summary"]
        for text in alert["annotations"].values():
            assert "error" not in text and "<no value>" not in text and "{{" not in text


def test_variables_are_answered(asked: Asked) -> None:
    """
    The guards that can be chosen are those that there are.
    """
    assert {"images", "videos", "captions", "sounds"} == set(asked.get("label/guard/values"))


def test_it_fits_grafana() -> None:
    """
    Panels have ids of their own, lie within the page and do not overlap, and name the data source that is chosen.
    """
    panels = dashboard()["panels"]
    assert len(panels) == len({panel["id"] for panel in panels})
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert {x for x, _ in cells} == set(range(24))
    for panel in panels:
        for target in panel.get("targets", ()):
            assert "${datasource}" == target["datasource"]["uid"]
    assert json.loads(to_json()) == dashboard()


def test_another_namespace() -> None:
    """
    Every metric has the name that the sink gives it; a name that cannot be is refused.
    """
    text = to_json("pictures")
    assert "hungframe_" not in text
    assert "pictures_breaker_state" in text
    with pytest.raises(ValueError, match="namespace must be letters"):
        dashboard("a b")
