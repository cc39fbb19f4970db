"""Counts and latencies under TensorFlow Serving's names, printed in Prometheus's text format.

The names begin with a colon and counters have no `_total`, which Prometheus's own client library doesn't print.
"""

from __future__ import annotations

import bisect
import threading

PROMETHEUS_PATH = "/monitoring/prometheus/metrics"

# Microseconds, ten times a power of 1.8, up to about twenty minutes.
_LIMITS = tuple(10 * 1.8**power for power in range(32))


class Counter:
    """Whole numbers that only grow, one for each combination of label values."""

    def __init__(self, name: str, *labels: str) -> None:
        self.name = name
        self._labels = labels
        self._values: dict[tuple[str, ...], int] = {}
        self._lock = threading.Lock()

    def add(self, *labels: str, by: int = 1) -> None:
        with self._lock:
            self._values[labels] = self._values.get(labels, 0) + by

    def lines(self) -> list[str]:
        with self._lock:
            values = dict(self._values)
        return [
            f"# TYPE {self.name} counter",
            *(f"{self.name}{{{_labels(self._labels, key)}}} {value}" for key, value in values.items()),
        ]


class Histogram:
    """Microseconds in exponential buckets, one row of buckets for each combination of label values."""

    def __init__(self, name: str, *labels: str) -> None:
        self.name = name
        self._labels = labels
        self._rows: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}
        self._lock = threading.Lock()

    def observe(self, microseconds: float, *labels: str) -> None:
        with self._lock:
            row = self._rows.setdefault(labels, [0] * (len(_LIMITS) + 1))
            row[bisect.bisect_right(_LIMITS, microseconds)] += 1
            self._sums[labels] = self._sums.get(labels, 0.0) + microseconds

    def lines(self) -> list[str]:
        with self._lock:
            rows, sums = {key: list(row) for key, row in self._rows.items()}, dict(self._sums)
        lines = [f"# TYPE {self.name} histogram"]
        for key, row in rows.items():
            labels, total = _labels(self._labels, key), 0
            for limit, count in zip([*(f"{limit:g}" for limit in _LIMITS), "+Inf"], row, strict=True):
                total += count
                lines.append(f'{self.name}_bucket{{{labels},le="{limit}"}} {total}')
            lines.append(f"{self.name}_sum{{{labels}}} {sums[key]:g}")
            lines.append(f"{self.name}_count{{{labels}}} {total}")
        return lines


class Metrics:
    """What one server counts."""

    def __init__(self) -> None:
        self.request_count = Counter(":tensorflow:serving:request_count", "model_name", "status")
        self.request_latency = Histogram(":tensorflow:serving:request_latency", "model_name", "API", "entrypoint")
        self.runtime_latency = Histogram(":tensorflow:serving:runtime_latency", "model_name", "API", "runtime")
        self.load_attempts = Counter(":tensorflow:cc:saved_model:load_attempt_count", "model_path", "status")
        self.load_latency = Counter(":tensorflow:cc:saved_model:load_latency", "model_path")

    def page(self) -> str:
        """The answer to a scrape."""
        series = (self.load_attempts, self.load_latency, self.request_count, self.request_latency, self.runtime_latency)
        return "\n".join(line for one in series for line in one.lines()) + "\n"


def _labels(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    pairs = zip(names, values, strict=True)
    return ",".join(f'{name}="{_escape(value)}"' for name, value in pairs)


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
