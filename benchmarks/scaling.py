"""What width and depth bring: recall by the size of the model, cycle by cycle, as `continual_sessions` measures.

    python -m benchmarks.scaling DATA [--architecture NAME ...] [--widths 64,128,256] [--blocks 1,2,4]
        [--training NAME ...] [--cycles 1-4] [--seeds 1] [--results FOLDER] [--only-draw]

Each cell of the grid is the policy `best` with another model: its width, its blocks, its architecture, and how it is
trained. `sasrec-1` is `sasrec` with the blocks of its first revision. The most popular items (half-life of two spans,
as the models have it) are a row beside them. FOLDER keeps every cell's figures and model after every cycle, so that a
run goes on where it was stopped, and `scaling.json` and `scaling.png` of all that it holds after every cell.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.continual_sessions import HALF_LIFE, chosen_cycles, run, test
from benchmarks.session_policies import POLICIES, SessionPolicy
from benchmarks.session_results import COLOURS, MARKS, METRICS, spread
from benchmarks.session_spans import SessionSpans, read_spans
from trainer.keras2 import tf
from trainer.models.base import Recommender
from trainer.settings import Schedule

_POPULAR = "most popular"
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "sasrec": ("sasrec", {}),
    "sasrec-1": ("sasrec", {"revision": 1}),
    "sasrec-projected": ("sasrec", {"head": "projected"}),
    "hstu": ("hstu", {}),
    "hstu-projected": ("hstu", {"head": "projected"}),
}
# What differs from the policy `best`: of its model's parameters, and of its update.
TRAINING: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "best": ({}, {}),
    "cosine": ({}, {"schedule": Schedule(within="cosine", warm_up=0.1, final=0.1, row_boost=7.0)}),
    "slow": ({}, {"learning_rate": 0.001}),
    "slow-long": ({}, {"learning_rate": 0.001, "cold_epochs": 10, "epochs": 6}),
    "decay": ({}, {"weight_decay": 0.1}),
    "dropout": ({"dropout": 0.4, "item_dropout": 0.4}, {}),
    "batch-400": ({}, {"batch_size": 400}),
    "clip": ({}, {"clip_norm": 1.0}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--architecture", action="append", choices=list(ARCHITECTURES), help="sasrec and hstu if none")
    parser.add_argument("--widths", type=_numbers, default=[64, 128, 256])
    parser.add_argument("--blocks", type=_numbers, default=[1, 2, 4])
    parser.add_argument("--training", action="append", choices=list(TRAINING), help="best if none")
    parser.add_argument("--cycles", default="1-4")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path("run/scaling"))
    parser.add_argument("--only-draw", action="store_true", help="what FOLDER holds, without running anything")
    arguments = parser.parse_args()
    if not arguments.only_draw:
        spans = read_spans(arguments.data / "events", "session_id", "item_id", "timestamp")
        cycles = chosen_cycles(arguments.cycles, spans.count - 1)
        _measure_popular(spans, cycles, arguments.results)
        for seed in range(1, arguments.seeds + 1):
            for name, policy in _cells(arguments):
                run(spans, policy, seed, cycles, arguments.results / name / f"seed-{seed}")
                show(arguments.results)
    show(arguments.results)


def _cells(arguments: argparse.Namespace) -> Iterator[tuple[str, SessionPolicy]]:
    """Small ones first: a curve has its beginning soon."""
    for training in arguments.training or ["best"]:
        for blocks in arguments.blocks:
            for width in arguments.widths:
                for architecture in arguments.architecture or ["sasrec", "hstu"]:
                    yield (
                        f"{architecture} {width}x{blocks} {training}",
                        cell(architecture, width, blocks, training),
                    )


def cell(architecture: str, width: int, blocks: int, training: str) -> SessionPolicy:
    """The policy `best` with another model, trained in another way."""
    best = POLICIES["best"]
    type_, of_architecture = ARCHITECTURES[architecture]
    of_model, of_update = TRAINING[training]
    params = {**best.spec.params, **of_architecture, **of_model, "dimension": width, "blocks": blocks}
    return SessionPolicy(
        dataclasses.replace(best.spec, type=type_, params=params), dataclasses.replace(best.update, **of_update)
    )


def _measure_popular(spans: SessionSpans, cycles: Sequence[int], folder: Path) -> None:
    """The most popular items of all spans before each cycle, in the form of a cell's figures."""
    rows = []
    for cycle in cycles:
        nothing = spans.sequences(0).take(np.zeros(0, np.int64))
        counts = spans.popularity(cycle - 1, HALF_LIFE, nothing)
        scores = tf.constant(counts, tf.float32)

        def score_all(key: tf.Tensor, history: tf.Tensor, scores: tf.Tensor = scores) -> tf.Tensor:
            return tf.tile(scores[None], [tf.shape(history)[0], 1])

        popular = SimpleNamespace(score_all=score_all, sizes=SimpleNamespace(first_row=spans.first_row))
        metrics, positions = test(cast(Recommender, popular), spans.test_positions(cycle), 1)
        rows.append({"cycle": cycle, "metrics": metrics, "positions": positions, "train_processor_seconds": 0.0})
    path = folder / _POPULAR / "seed-1" / "figures.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"policy": _POPULAR, "seed": 1, "cycles": rows}, indent=1))


def show(folder: Path) -> None:
    """Writes one JSON file and one picture of all cells in `folder`, and prints them."""
    cells: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*/seed-*/figures.json")):
        figures = json.loads(path.read_text())
        cells.setdefault(figures["policy"], []).append(figures)
    (folder / "scaling.json").write_text(json.dumps(cells, indent=1) + "\n")
    Console(width=160).print(table(cells))
    _draw(cells, folder / "scaling.png")


def table(cells: dict[str, list[dict[str, Any]]]) -> Table:
    """A line a cell: means over its cycles and their spread over seeds."""
    shown = Table(title="mean over cycles ± standard deviation over seeds", title_justify="left")
    for name in ("model", "seeds", "cycles", *METRICS, "processor seconds"):
        shown.add_column(name, justify="left" if name == "model" else "right")
    for name, seeds in sorted(cells.items(), key=lambda of: _size(of[0])):
        cycles = [row["cycle"] for row in seeds[0]["cycles"]]
        seconds = [sum(row["train_processor_seconds"] for row in seed["cycles"]) for seed in seeds]
        quality = [spread([_mean(seed, cycles, metric) for seed in seeds]) for metric in METRICS]
        shown.add_row(name, str(len(seeds)), f"{cycles[0]}-{cycles[-1]}", *quality, f"{statistics.fmean(seconds):,.0f}")
    return shown


def _mean(run_: dict[str, Any], cycles: Sequence[int], metric: str) -> float:
    return statistics.fmean(row["metrics"][metric] for row in run_["cycles"] if row["cycle"] in cycles)


def _size(name: str) -> tuple[str, str, int, int]:
    """Architecture, training, blocks and width of a cell by its name."""
    if name == _POPULAR:
        return ("", "", 0, 0)
    architecture, size, training = name.split(" ")
    width, _, blocks = size.partition("x")
    return architecture, training, int(blocks), int(width)


def _draw(cells: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """A curve over width for each architecture and number of blocks, over the cycles that all of them have."""
    drawn = {name: seeds for name, seeds in cells.items() if name == _POPULAR or _size(name)[1] == "best"}
    if len(drawn) < 2:
        return
    cycles = sorted(set.intersection(*({row["cycle"] for row in seeds[0]["cycles"]} for seeds in drawn.values())))
    if not cycles:
        return
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    for axis, metric in zip(axes, ("recall@20", "mrr@20"), strict=True):
        curves: dict[tuple[str, int], dict[int, list[float]]] = {}
        for name, seeds in drawn.items():
            if name != _POPULAR:
                architecture, _, blocks, width = _size(name)
                values = [_mean(seed, cycles, metric) for seed in seeds]
                curves.setdefault((architecture, blocks), {})[width] = values
        architectures = sorted({architecture for architecture, _ in curves})
        for (architecture, blocks), by_width in sorted(curves.items()):
            widths = sorted(by_width)
            axis.errorbar(
                widths,
                [statistics.fmean(by_width[width]) for width in widths],
                [statistics.pstdev(by_width[width]) for width in widths],
                color=COLOURS[architectures.index(architecture) % len(COLOURS)],
                marker=MARKS[min(blocks, len(MARKS)) - 1],
                linestyle={1: "-", 2: "--"}.get(blocks, ":"),
                label=f"{architecture}, {blocks} block{'s' * (blocks > 1)}",
            )
        axis.set_xscale("log", base=2)
        axis.set_xticks(sorted({width for of in curves.values() for width in of}))
        axis.xaxis.set_major_formatter("{x:.0f}")
        axis.set(xlabel="width", ylabel=f"{metric}, percent")
        axis.grid(alpha=0.3)
    popular = "" if _POPULAR not in drawn else (
        f"; most popular items: {_mean(drawn[_POPULAR][0], cycles, 'recall@20'):.1f} and "
        f"{_mean(drawn[_POPULAR][0], cycles, 'mrr@20'):.1f}"
    )  # fmt: skip
    seeds = max(len(of) for of in drawn.values())
    figure.suptitle(f"mean of cycles {cycles[0]} to {cycles[-1]}, {seeds} seed{'s' * (seeds > 1)}{popular}", fontsize=9)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    main()
