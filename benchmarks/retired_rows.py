"""What does it cost a recommender to forget who is too old? Rows, bytes of state and next-span recall, both ways.

    python -m benchmarks.retired_rows SETTINGS --retired vocabulary.max_items=4000 vocabulary.item_max_age=30 \\
        --work FOLDER [--from DAY --to DAY] [--last 30] [--seeds 1 2 3] [--save FILE]

A backtest of SETTINGS as they are, and one with each of the `vocabulary` settings given, over the same days. State is
the vocabulary and the history that a day hands to the next. What is done lies in FOLDER: a run that was cut off goes
on.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.backtest import find_policies
from pipeline.backtest.policy_run import PolicyRun
from pipeline.backtest.prepared_spans import prepare
from pipeline.config import Config, load_config
from pipeline.operations.disk_usage import tree_bytes
from pipeline.planning.deliveries import read_deliveries
from pipeline.spans import Naming
from trainer.atomic_write import atomic_write
from trainer.vocabulary import read_header


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", type=Path)
    parser.add_argument("--retired", nargs="+", default=[], help="`vocabulary` settings, each tried by itself")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--from", dest="first", help="the first day")
    parser.add_argument("--to", dest="last_day", help="the last day")
    parser.add_argument("--last", type=int, default=30, help="days at the end that the means are over")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--save", type=Path, help="write FILE, JSON")
    arguments = parser.parse_args()
    config = load_config(arguments.settings)
    figures: dict[str, Any] = {"command": " ".join(sys.argv[1:]), "last": arguments.last, "runs": {}}
    for change in ("", *arguments.retired):
        named = changed(config, change)
        folder = arguments.work / (change.replace("=", "-") or "as it is")
        figures["runs"][change or "as it is"] = measured(named, arguments, folder)
        Console(width=120).print(table(figures))
        if arguments.save:
            with atomic_write(arguments.save) as beside:
                beside.write_text(json.dumps(figures, indent=1))


def changed(config: Config, change: str) -> Config:
    """The settings with one of the vocabulary's, such as `vocabulary.max_items=4000`."""
    if not change:
        return config
    name, value = change.removeprefix("vocabulary.").split("=")
    vocabulary = config.vocabulary.model_copy(update={name: int(value)})
    return config.model_copy(update={"vocabulary": vocabulary})


def measured(config: Config, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Of the last days: recall by seed; rows, and bytes of state, on the last and on the day in the middle."""
    naming = Naming(config.data.dated)
    first, last = (None if day is None else naming.parse(day) for day in (arguments.first, arguments.last_day))
    wanted = {
        number: delivery
        for number, delivery in read_deliveries(config).items()
        if (first is None or number >= first) and (last is None or number <= last)
    }
    spans = prepare(config, wanted, folder / "spans", lambda name: None)
    policy, *_ = find_policies(["settings"], config)
    recall = []
    for seed in arguments.seeds:
        rows = PolicyRun(policy, seed, spans, folder / "runs", 0).run()[-arguments.last :]
        events = np.array([row.events for row in rows])
        recall.append(float(np.sum([row.metrics["recall"] * row.events for row in rows]) / events.sum()))
    return {
        "recall": recall,
        **{
            name: {
                "items": read_header(span.folder / "vocabulary", "items").size,
                "keys": read_header(span.folder / "vocabulary", "keys").size,
                "state_bytes": sum(tree_bytes(span.folder / part) for part in ("vocabulary", "history")),
            }
            for name, span in (("middle", spans[len(spans) // 2]), ("end", spans[-1]))
        },
    }


def table(figures: dict[str, Any]) -> Table:
    shown = Table(
        "",
        "recall",
        "items",
        "keys",
        "state, MB",
        title=f"last {figures['last']} days; rows in the middle -> at the end",
    )
    for name, run in figures["runs"].items():
        mean, deviation = np.mean(run["recall"]), np.std(run["recall"])
        cells = (f"{run['middle'][of]:,} -> {run['end'][of]:,}" for of in ("items", "keys"))
        size = f"{run['middle']['state_bytes'] / 1e6:.2f} -> {run['end']['state_bytes'] / 1e6:.2f}"
        shown.add_row(name, f"{mean:.4f} ± {deviation:.4f}", *cells, size)
    return shown


if __name__ == "__main__":
    main()
