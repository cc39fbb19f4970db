"""The table: policy against quality and cost."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from rich.table import Table

from pipeline.backtest.row import Row


def comparison(rows: Sequence[Row], metrics: Sequence[str], k: int, retrain: str | None) -> Table:
    """One line a policy, in the order of `rows`.

    Metrics are means over the tested spans, and their spread (±) is the standard deviation over seeds. Seconds and
    examples are those of all training, a seed.

    Args:
      rows: of all policies, seeds and spans.
      metrics: their names.
      k: the cut-off of ranking metrics.
      retrain: the policy whose cost the others are compared with, None without one.
    """
    tested = {row.span for row in rows if row.events}
    ranked = {"recall", "ndcg", "mrr"}
    table = Table(title=f"{len(tested)} spans tested" if tested else "no span tested", title_justify="left")
    table.add_column("policy")
    for name in metrics:
        table.add_column(f"{name}@{k}" if name in ranked else name, justify="right")
    for name in ("seconds", "examples", "seconds of retrain", "examples of retrain"):
        table.add_column(name, justify="right")
    by_policy: dict[str, list[Row]] = {}
    for row in rows:
        by_policy.setdefault(row.policy, []).append(row)
    full = by_policy.get(retrain or "")
    for policy, own in by_policy.items():
        quality = [_spread(_per_seed(own, name)) for name in metrics]
        if all(row.action == "count" for row in own):
            table.add_row(policy, *quality, "", "", "", "")
            continue
        seconds, examples = _cost(own)
        shares = ["", ""]
        if full is not None:
            shares = [_share(seconds, _cost(full)[0]), _share(examples, _cost(full)[1])]
        table.add_row(policy, *quality, f"{seconds:,.1f}", f"{examples:,.0f}", *shares)
    return table


def _per_seed(rows: Iterable[Row], metric: str) -> list[float]:
    seeds: dict[int, list[float]] = {}
    for row in rows:
        if row.events and metric in row.metrics:
            seeds.setdefault(row.seed, []).append(row.metrics[metric])
    return [statistics.fmean(values) for values in seeds.values()]


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    mean = f"{statistics.fmean(values):.4f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.4f}"


def _cost(rows: Sequence[Row]) -> tuple[float, float]:
    """Training seconds and examples, a seed."""
    seeds = len({row.seed for row in rows})
    return sum(row.seconds for row in rows) / seeds, sum(row.examples for row in rows) / seeds


def _share(own: float, full: float) -> str:
    return f"{own / full:.0%}" if full else ""
