"""
A dashboard for Grafana, as the JSON that it imports.

What is shown stands in `_panels`; here is how that becomes JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from hungframe.telemetry._panels import STATES, Panel, rows

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_WIDTH = 24
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def dashboard(namespace: str = "hungframe") -> dict[str, Any]:
    """
    Make the dashboard.

    Args:
        namespace: That of the `PrometheusSink`.

    Raises:
        ValueError: If *namespace* cannot begin the name of a metric.

    >>> dashboard()["title"]
    'hungframe'

    .. versionadded:: 0.1.0
    """
    if not _NAME.fullmatch(namespace):
        raise ValueError(f"namespace must be letters, digits and '_', such as 'hungframe', got {namespace!r}")
    return {
        "title": namespace,
        "uid": f"{namespace}-calls"[:40],
        "description": "Calls to providers: how they end, why they are refused, and how long they take.",
        "tags": ["hungframe"],
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "schemaVersion": 38,
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "",
        "annotations": {"list": []},
        "templating": {"list": [_datasource(), _guards(namespace)]},
        "panels": list(_placed(rows(namespace))),
    }


def to_json(namespace: str = "hungframe") -> str:
    """
    Write the dashboard as Grafana imports it.
    """
    return json.dumps(dashboard(namespace), indent=2) + "\n"


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _guards(m: str) -> dict[str, Any]:
    query = f"label_values({m}_requests_total, guard)"
    return {
        "name": "guard",
        "label": "Guard",
        "type": "query",
        "datasource": _SOURCE,
        "definition": query,
        "query": {"query": query, "refId": "guards"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _placed(all_rows: Iterable[tuple[str, tuple[Panel, ...]]]) -> Iterator[dict[str, Any]]:
    """
    Give each panel its place: from left to right, and a new line where one is full.
    """
    number, y = 1, 0
    for title, panels in all_rows:
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": y, "w": _WIDTH, "h": 1},
        }
        number, y, x = number + 1, y + 1, 0
        for panel in panels:
            if x + panel.width > _WIDTH:
                x, y = 0, y + 8
            yield {"id": number, "gridPos": {"x": x, "y": y, "w": panel.width, "h": 8}, **_drawn(panel)}
            number, x = number + 1, x + panel.width
        y += 8


def _drawn(panel: Panel) -> dict[str, Any]:
    is_now = panel.kind in ("stat", "table")
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": _SOURCE,
                "expr": expr,
                "legendFormat": legend,
                "instant": is_now,
                "range": not is_now,
                "format": "table" if panel.kind == "table" else "time_series",
            }
            for place, (expr, legend) in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": _options(panel),
    }


def _field(panel: Panel) -> dict[str, Any]:
    field: dict[str, Any] = {"unit": panel.unit}
    if panel.kind == "timeseries":
        field["min"] = 0
        field["custom"] = {
            "fillOpacity": 30 if panel.stacked else 0,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none"},
        }
    if panel.levels:
        steps = zip((None, *panel.levels), ("green", "orange", "red"), strict=True)
        field["thresholds"] = {"mode": "absolute", "steps": [{"value": at, "color": colour} for at, colour in steps]}
    if panel.kind == "state-timeline":
        words = {str(number): {"text": state, "color": colour} for state, (number, colour) in STATES.items()}
        field["mappings"] = [{"type": "value", "options": words}]
    return field


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "stat":
        return {"colorMode": "value", "graphMode": "none", "reduceOptions": {"calcs": ["lastNotNull"]}}
    if panel.kind == "timeseries":
        return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    if panel.kind == "state-timeline":
        return {"mergeValues": True, "showValue": "auto", "legend": {"displayMode": "list", "placement": "bottom"}}
    return {}
