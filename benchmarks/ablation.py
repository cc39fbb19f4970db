"""What each part of learning brings to session data, one at a time: `best` of `continual_sessions` with and without it.

    python -m benchmarks.ablation DATA [--variant NAME ...] [--seeds 3] [--cycles 1-4] [--out FOLDER] [--results FOLDER]

DATA, the protocol and the figures are those of `continual_sessions`; cycles 1 to 4 are those on which settings are
chosen. A difference is to `best` of the same seed, so that it has a spread of its own; processor seconds are of the
training, without the teacher's. Goes on where it was stopped. With `--results` what FOLDER of `--out` holds is gathered
into `ablation.json`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.baselines import of_sessions
from benchmarks.continual_sessions import chosen_cycles, run
from benchmarks.session_policies import POLICIES, SessionPolicy
from benchmarks.session_results import gather, spread
from benchmarks.session_spans import read_spans
from pipeline.config.backtest import Backtest
from trainer.settings import Augmentation, DistillationSettings, EwcSettings, ReplaySettings, Stability

BEST = "best"
_POPULAR = "most popular"
_METRICS = ("recall@20", "mrr@20")


def _with_params(**params: Any) -> SessionPolicy:
    best = POLICIES[BEST]
    return dataclasses.replace(best, spec=dataclasses.replace(best.spec, params={**best.spec.params, **params}))


def _with_update(**changes: Any) -> SessionPolicy:
    best = POLICIES[BEST]
    return dataclasses.replace(best, update=dataclasses.replace(best.update, **changes))


def _keeping(**parts: Any) -> SessionPolicy:
    return _with_update(stability=Stability(**parts))


def _augmented(share: float = 0.5, **operations: float) -> SessionPolicy:
    return _with_update(augmentation=Augmentation(share=share, **operations))


VARIANTS: dict[str, SessionPolicy] = {
    BEST: POLICIES[BEST],
    "without transitions": _with_params(neighbours=0),
    "one direction": _with_params(reverse=False),
    "without dropout": _with_params(dropout=0.0, item_dropout=0.0),
    "width 256": _with_params(dimension=256),
    "replay": _keeping(replay=ReplaySettings(budget=6000)),
    "replay, distillation": _keeping(
        replay=ReplaySettings(budget=6000), distillation=DistillationSettings(weight=0.5, batches="replayed")
    ),
    "distillation": _keeping(distillation=DistillationSettings(weight=0.5, batches="new")),
    "ewc": _keeping(ewc=EwcSettings(strength=100.0)),
    "mask 0.3": _augmented(mask=0.3),
    "substitute 0.3": _augmented(substitute=0.3),
    "crop 0.4": _augmented(crop=0.4),
    "reorder 0.5": _augmented(reorder=0.5),
    "all augmentations": _augmented(crop=0.4, mask=0.3, reorder=0.5, substitute=0.3),
    "substitute 0.1": _augmented(share=1.0, substitute=0.1),
    "mask 0.1": _augmented(share=1.0, mask=0.1),
    "taught": POLICIES["taught"],
    "taught by ranks": POLICIES["taught by ranks"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--variant", action="append", choices=list(VARIANTS), help="beside `best`; all by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cycles", default="1-4")
    parser.add_argument("--out", type=Path, default=Path("run/ablation"))
    parser.add_argument("--results", type=Path, help="the folder of ablation.json")
    arguments = parser.parse_args()
    spans = read_spans(arguments.data / "events", "session_id", "item_id", "timestamp")
    cycles = chosen_cycles(arguments.cycles, spans.count - 1)
    popular = next(iter(of_sessions(spans, Backtest(baselines=("half_life",)), cycles).values()))
    names = dict.fromkeys([BEST, *(arguments.variant or VARIANTS)])
    for seed in range(1, 1 + arguments.seeds):
        for name in names:
            run(spans, VARIANTS[name], seed, cycles, folder_of(arguments.out, name) / f"seed-{seed}")
            runs = {variant: runs for variant, runs in _gathered(arguments.out).items() if variant in names}
            Console(width=140).print(table(runs, popular))
            if arguments.results is not None:
                arguments.results.mkdir(parents=True, exist_ok=True)
                figures = {_POPULAR: popular, **_gathered(arguments.out)}
                (arguments.results / "ablation.json").write_text(json.dumps(figures, indent=1) + "\n")


def folder_of(out: Path, name: str) -> Path:
    """Where the runs of a variant are kept."""
    return out / name.replace(", ", "-").replace(" ", "-")


def _gathered(out: Path) -> dict[str, list[dict[str, Any]]]:
    runs = gather(out)
    return {name: runs[folder.name] for name in VARIANTS if (folder := folder_of(out, name)).name in runs}


def table(runs: Mapping[str, list[dict[str, Any]]], popular: Mapping[str, float]) -> Table:
    """A line a variant: means over cycles, their spread over seeds, and both of the differences to `best`."""
    shown = Table(title="mean over cycles ± standard deviation over seeds", title_justify="left")
    for column in ("", "seeds", *_METRICS, *(f"{name} - best's" for name in _METRICS), "of best's seconds"):
        shown.add_column(column, justify="left" if not column else "right")
    shown.add_row(_POPULAR, "", *(f"{popular[name]:.2f}" for name in _METRICS))
    best = {run["seed"]: run for run in runs.get(BEST, ())}
    for variant, seeds in runs.items():
        both = [(seed, best[seed["seed"]]) for seed in seeds if seed["seed"] in best] if variant != BEST else []
        gains = [spread([_mean(seed, name) - _mean(of, name) for seed, of in both]) for name in _METRICS]
        costs = [_seconds(seed) / _seconds(of) for seed, of in both]
        means = [spread([_mean(seed, name) for seed in seeds]) for name in _METRICS]
        shown.add_row(variant, str(len(seeds)), *means, *gains, spread(costs))
    return shown


def _mean(run: Mapping[str, Any], metric: str) -> float:
    return statistics.fmean(row["metrics"][metric] for row in run["cycles"])


def _seconds(run: Mapping[str, Any]) -> float:
    return sum(row["train_processor_seconds"] for row in run["cycles"])


if __name__ == "__main__":
    main()
