"""What a backtest comes to: one line a policy."""

from __future__ import annotations

import dataclasses
import functools
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pipeline.backtest import retention
from pipeline.backtest.results import Row, figure, write_csv


@dataclasses.dataclass(frozen=True)
class Measure:
    """A mean over seeds, and the standard deviation over them; None for one seed."""

    mean: float
    spread: float | None


@dataclasses.dataclass(frozen=True)
class Line:
    """A policy's quality and cost.

    Attributes:
      policy: its name.
      seeds, spans: how many seeds ran, and on how many spans they were tested.
      metrics: by name, means over the tested spans.
      retention, backward_transfer: see `retention`; None where there is none.
      seconds, examples: of all training, a seed; None for a baseline.
      seconds_share, examples_share: of a full retrain's; None without one.
    """

    policy: str
    seeds: int
    spans: int
    metrics: dict[str, Measure]
    retention: Measure | None
    backward_transfer: Measure | None
    seconds: float | None
    examples: float | None
    seconds_share: float | None
    examples_share: float | None


def by_policy(rows: Iterable[Row]) -> dict[str, dict[int, list[Row]]]:
    """The rows of each policy by seed, in their order."""
    grouped: dict[str, dict[int, list[Row]]] = {}
    for row in rows:
        grouped.setdefault(row.policy, {}).setdefault(row.seed, []).append(row)
    return grouped


def summarize(rows: Sequence[Row], metrics: Sequence[str], retrain: str | None) -> list[Line]:
    """One line a policy, in the order of `rows`.

    Args:
      rows: of all policies, seeds and spans.
      metrics: their names.
      retrain: the policy whose cost the others are compared with, None without one.
    """
    policies = by_policy(rows)
    full = _cost(policies[retrain]) if retrain in policies else (None, None)
    lines = []
    for policy, seeds in policies.items():
        seconds, examples = _cost(seeds)
        quality = {name: _measure(seeds, functools.partial(_mean, metric=name)) for name in metrics}
        lines.append(
            Line(
                policy=policy,
                seeds=len(seeds),
                spans=len({row.span for seed_rows in seeds.values() for row in seed_rows if row.events}),
                metrics={name: measure for name, measure in quality.items() if measure is not None},
                retention=_measure(seeds, retention.retention),
                backward_transfer=_measure(seeds, retention.backward_transfer),
                seconds=seconds,
                examples=examples,
                seconds_share=_share(seconds, full[0]),
                examples_share=_share(examples, full[1]),
            )
        )
    return lines


def write_summary(path: Path, lines: Sequence[Line], metrics: Sequence[str]) -> None:
    """Writes the lines as CSV, beside first; what there is none of stays empty."""
    measures = [*metrics, "retention", "backward_transfer"]
    cost = ["seconds", "examples", "seconds_share", "examples_share"]
    table: list[list[object]] = [
        ["policy", "seeds", "spans", *(part for name in measures for part in (name, f"{name}_spread")), *cost]
    ]
    for line in lines:
        summaries = [*(line.metrics.get(name) for name in metrics), line.retention, line.backward_transfer]
        pairs = [(None, None) if summary is None else (summary.mean, summary.spread) for summary in summaries]
        values = [value for pair in pairs for value in pair]
        costs = [line.seconds, line.examples, line.seconds_share, line.examples_share]
        table.append([line.policy, line.seeds, line.spans, *(figure(value) for value in [*values, *costs])])
    write_csv(path, table)


def _mean(rows: Iterable[Row], metric: str) -> float | None:
    values = [row.metrics[metric] for row in rows if row.events and metric in row.metrics]
    return statistics.fmean(values) if values else None


def _measure(seeds: dict[int, list[Row]], of: Callable[[list[Row]], float | None]) -> Measure | None:
    values = [value for value in map(of, seeds.values()) if value is not None]
    if not values:
        return None
    return Measure(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


def _cost(seeds: dict[int, list[Row]]) -> tuple[float | None, float | None]:
    """Training seconds and examples, a seed."""
    rows = [row for seed_rows in seeds.values() for row in seed_rows]
    if all(row.action == "count" for row in rows):
        return None, None
    return sum(row.seconds for row in rows) / len(seeds), sum(row.examples for row in rows) / len(seeds)


def _share(cost: float | None, full: float | None) -> float | None:
    return cost / full if cost is not None and full else None
