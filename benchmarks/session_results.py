"""Gathers what `continual_sessions` has measured: one JSON file, one table and one picture.

    python -m benchmarks.session_results FIGURES [--reference CSV] [--out benchmarks/results]

FIGURES is the folder that `continual_sessions` wrote; CSV the published curves (`dataset,metric,cycle,<method>…`).
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from rich.console import Console
from rich.table import Table

METRICS = ("recall@20", "mrr@20", "recall@10", "mrr@10")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # told apart without colour vision
MARKS = ("o", "s", "^", "D", "v", "P")
_LABEL_APART = 0.25  # points, of the names behind the published curves
_JOINT = "joint"
_COSTS = ("train_processor_seconds", "examples")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", type=Path)
    parser.add_argument("--reference", type=Path, help="published curves to draw behind ours")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    runs = gather(arguments.figures)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "continual_sessions.json").write_text(json.dumps(runs, indent=1) + "\n")
    Console(width=200).print(table(runs))
    published = _read_reference(arguments.reference) if arguments.reference else {}
    _draw(runs, published, arguments.out / "continual_sessions.png")


def gather(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The runs of each policy, a seed each, as `continual_sessions` keeps them."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*/seed-*/figures.json")):
        figures = json.loads(path.read_text())
        runs.setdefault(figures["policy"], []).append(figures)
    return runs


def table(runs: dict[str, list[dict[str, Any]]]) -> Table:
    """One line a policy: means over its cycles and their spread over seeds, and the cost against that of `joint`."""
    shown = Table(title="mean over cycles ± standard deviation over seeds", title_justify="left")
    columns = (
        "policy", "seeds", "cycles", *METRICS, "retained recall@20", "processor seconds", "examples",
        "an event, last/2nd cycle", "of joint's", "recall@20, joint's cycles",
    )  # fmt: skip
    for name in columns:
        shown.add_column(name, justify="left" if name == "policy" else "right")
    for policy, seeds in runs.items():
        cycles = [row["cycle"] for row in seeds[0]["cycles"]]
        quality = [spread([_mean(seed, name) for seed in seeds]) for name in METRICS]
        retained = [row["retained"]["recall@20"] for seed in seeds for row in seed["cycles"] if "retained" in row]
        seconds, examples = (_total(seeds, name) for name in _COSTS)
        joint = runs.get(_JOINT, [])
        shown.add_row(
            policy, str(len(seeds)), str(len(cycles)), *quality, spread(retained), f"{seconds:,.0f}",
            f"{examples:,.0f}", spread(_growth(seeds)), _share_of_joint(seeds, joint), _on_cycles_of(joint, seeds),
        )  # fmt: skip
    return shown


def _mean(run: dict[str, Any], metric: str) -> float:
    return statistics.fmean(row["metrics"][metric] for row in run["cycles"])


def _total(seeds: list[dict[str, Any]], name: str) -> float:
    return statistics.fmean(sum(row[name] for row in seed["cycles"]) for seed in seeds)


def _growth(seeds: list[dict[str, Any]]) -> list[float]:
    """What a new event costs in the last cycle against what it costs in the second, one figure a seed."""
    growths = []
    for seed in seeds:
        cost = {row["cycle"]: row["train_processor_seconds"] / row["new_events"] for row in seed["cycles"]}
        if 2 in cost:
            growths.append(cost[max(cost)] / cost[2])
    return growths


def _on_cycles_of(joint: list[dict[str, Any]], seeds: list[dict[str, Any]]) -> str:
    """Recall on the cycles that `joint` was run on."""
    if not joint:
        return ""
    cycles = {row["cycle"] for row in joint[0]["cycles"]}
    recalls = [[row["metrics"]["recall@20"] for row in seed["cycles"] if row["cycle"] in cycles] for seed in seeds]
    return spread([statistics.fmean(seed_recalls) for seed_recalls in recalls if seed_recalls])


def _share_of_joint(seeds: list[dict[str, Any]], joint: list[dict[str, Any]]) -> str:
    """Processor seconds and examples over all cycles against those of `joint`, which grow with the history.

    Where `joint` was run on some cycles only, its cost of an event of the history in those stands for the others.
    """
    if not joint or seeds is joint:
        return ""
    events = {row["cycle"]: row["new_events"] for row in seeds[0]["cycles"]}
    history = {cycle: sum(count for other, count in events.items() if other <= cycle) for cycle in events}
    run = [row["cycle"] for row in joint[0]["cycles"]]
    if not set(run) <= set(history):  # still on its way
        return ""
    scale = sum(history.values()) / sum(history[cycle] for cycle in run)
    seconds, examples = (_total(seeds, name) / (_total(joint, name) * scale) for name in _COSTS)
    return f"{seconds:.1%} s, {examples:.1%} examples"


def spread(values: list[float]) -> str:
    if not values:
        return ""
    mean = f"{statistics.fmean(values):.2f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.2f}"


def _read_reference(path: Path) -> dict[str, dict[str, list[float]]]:
    """Published values by metric and method, in order of the cycles."""
    published: dict[str, dict[str, list[float]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            for method in set(row) - {"dataset", "metric", "cycle"}:
                published.setdefault(row["metric"].lower(), {}).setdefault(method, []).append(float(row[method]))
    return published


def _draw(runs: dict[str, list[dict[str, Any]]], published: dict[str, dict[str, list[float]]], path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    for axis, metric in zip(axes, ("recall@20", "mrr@20"), strict=True):
        curves = sorted(published.get(metric, {}).items(), key=lambda curve: curve[1][-1])
        low = float("-inf")
        for method, values in curves:
            axis.plot(range(1, len(values) + 1), values, color="0.65", linewidth=1, zorder=1)
            # Names of curves that end close together would lie on one another.
            low = max(values[-1], low + _LABEL_APART)
            axis.annotate(
                f"{method} (published)", (len(values), low), xytext=(4, 0), textcoords="offset points",
                fontsize=7, color="0.4", va="center",
            )  # fmt: skip
        for number, (policy, seeds) in enumerate(runs.items()):
            curves = [{row["cycle"]: row["metrics"][metric] for row in seed["cycles"]} for seed in seeds]
            cycles = sorted(set.intersection(*map(set, curves)))  # a seed may still be on its way
            columns = [[curve[cycle] for curve in curves] for cycle in cycles]
            colour = COLOURS[number % len(COLOURS)]
            label = f"{policy}, {len(seeds)} seed{'s' * (len(seeds) > 1)}"
            axis.plot(
                cycles, list(map(statistics.fmean, columns)), color=colour, marker=MARKS[number % len(MARKS)],
                markersize=5, linewidth=2 if len(cycles) > 4 else 0, label=label, zorder=3,
            )  # fmt: skip
            if len(seeds) > 1:
                low_edge, high_edge = ([edge(column) for column in columns] for edge in (min, max))
                axis.fill_between(cycles, low_edge, high_edge, color=colour, alpha=0.2)
        axis.set(xlabel="cycle", ylabel=f"{metric}, percent")
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
