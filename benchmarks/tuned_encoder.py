"""Does an encoder that learns from the events help new items? Frozen against LoRA against full tuning against ids.

    python -m benchmarks.tuned_encoder movietweetings --data FOLDER --encoder FOLDER --results FOLDER
        [--from DAY] [--days 21] [--last 7] [--every 7] [--positions 500] [--seeds 1] [--variants ids frozen lora full]
        [--save FILE]

DATA/NAME holds `events/YYYY-MM-DD/*.csv`, and for the films `items.csv`; examples/NAME.yaml are the other settings.
Each item is listed in the morning of the day of its first event, by its title alone. Each span is learned from the
champion of the span before; then, before the next span is learned, its catalogue is taken in and all its events are
asked for, as `benchmarks.new_items` does, whose table this is: `all` ranks among all items, the groups are by how many
events the item had before, `shelf` ranks among those without events alone. Beside it: what tuning a span costs in
seconds of its process, how many texts were encoded, and how the encoder does on held-out pairs. What is done lies in
FOLDER, variant by variant: a run that was cut off goes on there.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.new_items import Row, recalls, results, table
from components.item_encoder import Encodings
from pipeline.backtest.prepared_spans import PreparedSpan, prepare
from pipeline.config import Config, load_config, with_settings
from pipeline.planning.deliveries import read_deliveries

VARIANTS = ("ids", "frozen", "lora", "full")
_EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
# Where an item's text stands: in a file beside the events, or in their own rows.
_TITLES = {"movietweetings": ("item_id", "title", "items.csv"), "online_retail": ("StockCode", "Description", None)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=tuple(_TITLES))
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds the data sets")
    parser.add_argument("--encoder", type=Path, required=True, help="in Hugging Face's layout")
    parser.add_argument("--results", type=Path, required=True, help="where spans, models and figures are kept")
    parser.add_argument("--from", dest="first", default="", help="the first day")
    parser.add_argument("--days", type=int, default=21)
    parser.add_argument("--last", type=int, default=7, help="how many days at the end the means are over")
    parser.add_argument("--every", type=int, default=7, help="spans from one revision to the next")
    parser.add_argument("--positions", type=int, default=500, help="most positions of a span that tune")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--save", type=Path, help="a JSON file of all figures")
    arguments = parser.parse_args()
    days = write_catalogue(arguments)
    rows: dict[str, list[tuple[str, list[Row]]]] = {}
    figures: dict[str, Any] = {}
    for variant in arguments.variants:
        config = config_of(arguments, variant)
        deliveries = dict(list(read_deliveries(config).items())[: len(days)])
        spans = prepare(config, deliveries, arguments.results / variant / "spans", lambda name: None)
        ranking = "ids" if variant == "ids" else "features"
        rows[variant] = []
        for seed in arguments.seeds:
            done = list(results(config, spans, ranking, seed, arguments.results / variant / f"seed-{seed}"))
            rows[variant].append((ranking, done[-arguments.last :]))
        figures[variant] = figures_of(rows[variant], spans, config.gate.k)
        Console(width=130).print(table(rows, config.gate.k))
        Console(width=130).print(variant, json.dumps(figures[variant]["cost"]))
        if arguments.save is not None:
            given = {name: str(value) for name, value in vars(arguments).items() if name not in ("data", "results")}
            given |= {"encoder": arguments.encoder.name, "save": ""}
            arguments.save.write_text(json.dumps({"arguments": given, "days": days, "variants": figures}, indent=1))


def write_catalogue(arguments: argparse.Namespace) -> list[str]:
    """Writes what each day lists for the first time; returns the days.

    Texts of the events' own rows are as they are in the first row that has one.
    """
    item, title, file = _TITLES[arguments.name]
    source = arguments.data / arguments.name
    known: dict[str, str] = {}
    if file is not None:
        with (source / file).open(newline="", encoding="utf-8") as lines:
            known = {row[item]: row[title] for row in csv.DictReader(lines)}
    folders = sorted(folder for folder in (source / "events").iterdir() if folder.name >= arguments.first)
    listed: set[str] = set()
    for folder in folders[: arguments.days]:
        new: dict[str, str] = {}
        for events in sorted(folder.glob("*.csv")):
            with events.open(newline="", encoding="utf-8", errors="replace") as lines:
                for row in csv.DictReader(lines):
                    text = known.get(row[item], "") if file is not None else row[title]
                    if row[item] not in listed and not new.get(row[item]):
                        new[row[item]] = text
        listed |= new.keys()
        path = arguments.results / "catalogue" / folder.name / "items.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            writer.writerows([("item", "title"), *new.items()])
    return [folder.name for folder in folders[: arguments.days]]


def config_of(arguments: argparse.Namespace, variant: str) -> Config:
    """The example's settings, with a catalogue of titles and this variant's encoder of them."""
    tuning = None
    if variant in ("lora", "full"):
        tuning = {"method": variant, "every": arguments.every, "positions": arguments.positions}
    changes: Mapping[str, Any] = {
        "root": arguments.results / variant / "root",
        "data": {"path": arguments.data / arguments.name / "events", "items": None},
        "catalogue": {
            "path": arguments.results / "catalogue",
            "delivery": "changes",
            "item": "item",
            "max_changed_fraction": 1.0,
        },
        "encoders": {"encoder": {"path": arguments.encoder, "max_tokens": 32, "tuning": tuning}},
        "features": {"item": [{"name": "title", "kind": "text"}]},
    }
    return with_settings(load_config(_EXAMPLES / f"{arguments.name}.yaml", anywhere=True), changes, "the benchmark")


def figures_of(seeds: Sequence[tuple[str, Sequence[Row]]], spans: Sequence[PreparedSpan], k: int) -> dict[str, Any]:
    """Recalls by seed, in the order of the table, and what encoding and tuning came to, span by span."""
    tuned = [span.folder / "tuned" / "title" / "about.json" for span in spans]
    return {
        "recall": [[round(float(value), 5) for value in recalls(ranking, rows, k)] for ranking, rows in seeds],
        "cost": {
            "encoded": [Encodings.open(span.folder / "encodings" / "title").counts["encoded"] for span in spans],
            "tuned": [json.loads(path.read_text(encoding="utf-8")) for path in tuned if path.exists()],
            "seconds_a_span": round(
                float(np.mean([json.loads(path.read_text())["seconds"] for path in tuned if path.exists()] or [0])), 2
            ),
        },
    }


if __name__ == "__main__":
    main()
