"""Counts and latencies under TensorFlow Serving's names, printed in Prometheus's text format.

The names begin with a colon and counters have no `_total`, which Prometheus's own client library doesn't print.
"""

from __future__ import annotations

import bisect
import threading

# The buckets of TensorFlow Serving: microseconds up to about twenty minutes or, for a queue, a second; rows; padding.
_LATENCY = tuple(10 * 1.8**power for power in range(32))
_QUEUING = tuple(100 * 1.2**power for power in range(51))
_ROWS = tuple(float(2**power) for power in range(14))


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
    """Numbers in exponential buckets, one row of buckets for each combination of label values."""

    def __init__(self, name: str, *labels: str, limits: tuple[float, ...] = _LATENCY) -> None:
        self.name = name
        self._labels = labels
        self._limits = limits
        self._rows: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}
        self._lock = threading.Lock()

    def observe(self, value: float, *labels: str) -> None:
        with self._lock:
            row = self._rows.setdefault(labels, [0] * (len(self._limits) + 1))
            # `le` is less or equal: a value at a limit belongs to that limit's bucket.
            row[bisect.bisect_left(self._limits, value)] += 1
            self._sums[labels] = self._sums.get(labels, 0.0) + value

    def lines(self) -> list[str]:
        with self._lock:
            rows, sums = {key: list(row) for key, row in self._rows.items()}, dict(self._sums)
        lines = [f"# TYPE {self.name} histogram"]
        for key, row in rows.items():
            labels, total = _labels(self._labels, key), 0
            first = f"{labels}," if labels else ""
            for limit, count in zip([*(f"{limit:g}" for limit in self._limits), "+Inf"], row, strict=True):
                total += count
                lines.append(f'{self.name}_bucket{{{first}le="{limit}"}} {total}')
            lines.append(f"{self.name}_sum{{{labels}}} {sums[key]:g}")
            lines.append(f"{self.name}_count{{{labels}}} {total}")
        return lines


class Metrics:
    """What one server counts."""

    def __init__(self) -> None:
        serving, batching = ":tensorflow:serving:", ":tensorflow:serving:batching_session:"
        self.load_attempts = Counter(":tensorflow:cc:saved_model:load_attempt_count", "model_path", "status")
        self.load_latency = Counter(":tensorflow:cc:saved_model:load_latency", "model_path")
        self.warmup_latency = Histogram(f"{serving}model_warmup_latency", "model_path", "status")
        self.request_count = Counter(f"{serving}request_count", "model_name", "status")
        self.request_latency = Histogram(f"{serving}request_latency", "model_name", "API", "entrypoint")
        self.runtime_latency = Histogram(f"{serving}runtime_latency", "model_name", "API", "runtime")
        self.example_counts = Histogram(f"{serving}request_example_counts", "model", limits=_ROWS)
        self.example_count_total = Counter(f"{serving}request_example_count_total", "model")
        self.queuing_latency = Histogram(f"{batching}queuing_latency", "thread_pool_name", limits=_QUEUING)
        self.input_batch_size = Histogram(f"{batching}input_batch_size", limits=_ROWS)
        self.processed_batch_size = Histogram(f"{batching}processed_batch_size", limits=_ROWS)
        self.padding_size = Histogram(f"{batching}padding_size", "execution_batch_size", limits=_ROWS)
        self.wrapped_run_count = Counter(f"{batching}wrapped_run_count")

    def page(self) -> str:
        """The answer to a scrape."""
        series = [counter for counter in vars(self).values() if isinstance(counter, Counter | Histogram)]
        return "\n".join(line for family in series for line in family.lines()) + "\n"


def _labels(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    pairs = zip(names, values, strict=True)
    return ",".join(f'{name}="{_escape(value)}"' for name, value in pairs)


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
