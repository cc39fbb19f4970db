"""The Grafana board of a served model, from the metrics that TensorFlow Serving and the embedded server share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_SERVING, _BATCHING = ":tensorflow:serving:", ":tensorflow:serving:batching_session:"
_WINDOW = "[$__rate_interval]"


def grafana_board(name: str) -> dict[str, Any]:
    """The board as Grafana's JSON model, for the model `name`."""
    model = f'model_name="{name}"'
    answered = f"sum(rate({_SERVING}request_count{{{model}}}{_WINDOW}))"
    failed = f'sum(rate({_SERVING}request_count{{{model},status!="OK"}}{_WINDOW}))'
    by_status = f"sum by (status) (rate({_SERVING}request_count{{{model}}}{_WINDOW}))"
    loads = f':tensorflow:cc:saved_model:load_attempt_count{{model_path=~".*/{name}/.*"}}'
    panels = [
        ("Requests a second", "reqps", [(by_status, "{{status}}")]),
        ("Share of requests that failed", "percentunit", [(f"{failed} / {answered}", "failed")]),
        ("Latency of a request", "µs", _quantiles(f"{_SERVING}request_latency", model)),
        ("Latency in the graph, with the wait for a batch", "µs", _quantiles(f"{_SERVING}runtime_latency", model)),
        ("Wait for a batch", "µs", _quantiles(f"{_BATCHING}queuing_latency", "")),
        ("Rows in a batch", "short", [(_mean(f"{_BATCHING}processed_batch_size"), "mean")]),
        ("Loads of a version", "short", [(f"sum by (status) (increase({loads}{_WINDOW}))", "{{status}}")]),
        ("Time to warm a version up", "µs", [(_mean(f"{_SERVING}model_warmup_latency"), "mean")]),
    ]
    return {
        "uid": f"warmspan-{name.lower()}"[:40],
        "title": f"{name}: serving",
        "tags": ["warmspan"],
        "schemaVersion": 39,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "panels": [_panel(number, *panel) for number, panel in enumerate(panels)],
    }


def expressions(board: dict[str, Any]) -> list[str]:
    """Every PromQL expression of a board."""
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def _quantiles(metric: str, labels: str) -> list[tuple[str, str]]:
    return [
        (f"histogram_quantile({share}, sum by (le) (rate({metric}_bucket{{{labels}}}{_WINDOW})))", legend)
        for share, legend in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    ]


def _mean(metric: str) -> str:
    return f"sum(rate({metric}_sum{_WINDOW})) / sum(rate({metric}_count{_WINDOW}))"


def _panel(number: int, title: str, unit: str, targets: Sequence[tuple[str, str]]) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "prometheus"}
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "datasource": source,
        # Two panels a row of Grafana's grid, which is 24 wide.
        "gridPos": {"x": 12 * (number % 2), "y": 8 * (number // 2), "w": 12, "h": 8},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": source, "expr": expression, "legendFormat": legend}
            for at, (expression, legend) in enumerate(targets)
        ],
    }
