"""A slow slide in the real pipeline: a model that loses a little every night, and a world that does.

    python -m benchmarks.slide_trials --out slides [--nights 10] [--save benchmarks/results/slide_trials.json]

Each line of days goes through the whole loop, guard to push, under the shipped gate with the demo's `max_drop: .02`. In
every shop an event's item follows from the one before it with some probability, and is any item otherwise. The model
counts what follows what (`FadingModel`), so that what it can reach is known.

* `model`: the shop stays as it is; each night's candidate has forgotten .0195 of recall more than the one before;
* `world`: the model forgets nothing; each day .0195 less of the events follow from anything;
* `steady`: neither.

Cut off, it goes on where it was: each line has a folder of its own under `--out`.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import datetime
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.config import load_config
from pipeline.ledger.runs import Run, read_ledger
from pipeline.orchestration.daily_run import run_steps
from pipeline.planning.deliveries import read_deliveries
from pipeline.planning.run_plan import make_plan
from pipeline.spans import Naming

FIRST_DAY = datetime.date(2024, 5, 1)
GOOD_DAYS = 8  # before the slide; the guard has seen enough by then
ITEMS, KEYS, EVENTS = 300, 1_500, 9_000
FOLLOWING = 0.5  # share of the events that follow from the one before
NIGHTLY = 0.0195
SETTINGS = """\
name: slide
data:
  path: events
  pattern: "{{YYYY}}-{{MM}}-{{DD}}/*.csv"
  format: csv
  columns: {{key: key, item: item, timestamp: timestamp}}
split: {{eval_fraction: 0.25}}
model:
  type: benchmarks.fading_model.FadingModel
  params: {{nightly: {nightly}, steady_spans: {steady}}}
update: {{epochs: 1}}
gate: {{k: 10, thresholds: {{recall: {{max_drop: 0.02}}}}}}
"""


@dataclasses.dataclass(frozen=True)
class Line:
    """What falls a night: the share of items that the model still knows, the share of events that follow."""

    model: float = 0.0
    world: float = 0.0


LINES = {"model": Line(model=NIGHTLY / FOLLOWING), "world": Line(world=NIGHTLY), "steady": Line()}


def main() -> None:
    """Parses arguments, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder of its own")
    parser.add_argument("--nights", type=int, default=10, help="of the slide")
    parser.add_argument("--lines", nargs="+", default=list(LINES), choices=list(LINES))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save", type=Path, help="write the figures to this JSON file")
    arguments = parser.parse_args()
    results = {}
    for name in arguments.lines:
        results[name] = _run(arguments.out / name, LINES[name], arguments.nights, arguments.seed)
        if arguments.save:
            arguments.save.write_text(json.dumps(results, indent=1) + "\n")
    _print(results)


def _run(root: Path, line: Line, nights: int, seed: int) -> list[dict[str, object]]:
    root.mkdir(parents=True, exist_ok=True)
    settings = root / "warmspan.yaml"
    settings.write_text(SETTINGS.format(nightly=line.model, steady=GOOD_DAYS))
    for number in range(GOOD_DAYS + nights):
        day = FIRST_DAY + datetime.timedelta(number)
        share = FOLLOWING - line.world * max(0, number - GOOD_DAYS + 1)
        _write_day(root / "events" / day.isoformat() / "part.csv", day, share, np.random.default_rng([seed, number]))
    config = load_config(settings)
    run_steps(config, make_plan(read_ledger(config), read_deliveries(config), Naming(True)), Console())
    return [_figures(run) for run in read_ledger(config)[GOOD_DAYS:]]


def _write_day(path: Path, day: datetime.date, share: float, random: np.random.Generator) -> None:
    """One day in which `share` of the events follow from the event before."""
    if path.exists():
        return
    follows = np.random.default_rng(0).permutation(ITEMS)
    begin = int(datetime.datetime.combine(day, datetime.time(), datetime.timezone.utc).timestamp())
    times = np.sort(random.integers(0, 86_400, EVENTS)) + begin
    last = random.integers(0, ITEMS, KEYS)
    path.parent.mkdir(parents=True)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["key", "item", "timestamp"])
        for time, key in zip(times, random.integers(0, KEYS, EVENTS), strict=True):
            last[key] = follows[last[key]] if random.random() < share else random.integers(0, ITEMS)
            rows.writerow([f"k{key}", f"i{last[key]}", time])


def _figures(run: Run) -> dict[str, object]:
    state = "held" if run.state == "held" else "refused" if run.pushed is None else "pushed"
    reason = run.doubts if state == "held" else run.verdict
    return {"night": run.name, "state": state, "next_span": dict(run.next_span), "reason": reason}


def _print(results: dict[str, Sequence[dict[str, object]]]) -> None:
    table = Table("line", "nights pushed", "refused first on night", "held")
    for name, nights in results.items():
        states = [night["state"] for night in nights]
        first = states.index("refused") + 1 if "refused" in states else "never"
        table.add_row(name, str(states.count("pushed")), str(first), str(states.count("held")))
    Console().print(table)


if __name__ == "__main__":
    main()
