"""Is a sick model seen? One bad day after several good ones, and what the gate and TensorBoard's pages say of it.

    python -m benchmarks.sick_days --out sick [--days 7] [--after]

Runs the shop of `warmspan demo` through the real pipeline, then, from a copy of that one good state each, the same next
day healthy and under four illnesses. Printed are the decision, the verdict, the alerts, and the numbers outside of what
the good days showed (those of docs/tensorboard.md, read from TensorBoard's own files); with `--after` also what a
healthy day after it says of the model that was then in service. Cut off, it goes on where it was. The folder keeps each
state: `warmspan tensorboard --logs sick/<illness>/logs`.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import datetime
import math
import os
import random
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from pipeline.config import Config, load_config, with_settings
from pipeline.demo.simulator import SHOP_SETTINGS, simulate
from pipeline.ledger.runs import Run, read_ledger
from pipeline.monitoring.alerts import alerts_of
from pipeline.orchestration.daily_run import run_steps
from pipeline.planning.deliveries import read_deliveries
from pipeline.planning.run_plan import make_plan
from pipeline.spans import Naming

FIRST_DAY = datetime.date(2024, 5, 1)
SEED = 7
SETTINGS = (
    SHOP_SETTINGS
    + """\
  span_hours: 24
  items: shop/items.csv
history: {length: 20}
gate: {confidence_intervals: true}
# The limit of docs/policy.md: it changes no decision here, and makes drift an alert.
policy: {drift: {columns: {item: {fine_tune: 0.35}}}}
"""
)
SHOWN = 12
_COST = ("seconds/", "bytes/", "update/examples", "update/epochs")

Rows = list[dict[str, str]]
Series = dict[str, dict[int, float]]


def same(rows: Rows) -> Rows:
    """As it was delivered."""
    return rows


def shuffled(rows: Rows) -> Rows:
    """Each event has the item of another: the training part, by time, alone."""
    cut = int(0.9 * len(rows))
    return _shuffled(rows[:cut]) + rows[cut:]


def all_shuffled(rows: Rows) -> Rows:
    """The same with the held-out part in it: a join that went wrong."""
    return _shuffled(rows)


def half_missing(rows: Rows) -> Rows:
    """No event of half of the items."""
    return [row for row in rows if zlib.crc32(row["item_id"].encode()) % 2]


def _shuffled(rows: Rows) -> Rows:
    items = [row["item_id"] for row in rows]
    random.Random(SEED).shuffle(items)
    return [{**row, "item_id": item} for row, item in zip(rows, items, strict=True)]


ILLNESSES: dict[str, tuple[Callable[[Rows], Rows], float]] = {
    "healthy": (same, 1.0),
    "labels shuffled where it trains": (shuffled, 1.0),
    "learning rate x 100": (same, 100.0),
    "half of the catalogue missing": (half_missing, 1.0),
    "labels shuffled all day": (all_shuffled, 1.0),
}


def main() -> None:
    """Parses arguments, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder of its own")
    parser.add_argument("--days", type=int, default=7, help="good days before the sick one")
    parser.add_argument("--after", action="store_true", help="run a healthy day after each sick one")
    arguments = parser.parse_args()
    sick = (
        arguments.out / "shop" / "events" / (FIRST_DAY + datetime.timedelta(arguments.days)).isoformat() / "events.csv"
    )
    sick.unlink(missing_ok=True)  # of a benchmark that was killed on that day it is still the spoiled one
    simulate(arguments.out / "shop", FIRST_DAY, arguments.days + 2, SEED)
    (arguments.out / "warmspan.yaml").write_text(SETTINGS)
    config, console = load_config(arguments.out / "warmspan.yaml"), Console(width=140)
    first = Naming(True).parse(FIRST_DAY.isoformat())
    day, good_state = first + arguments.days, arguments.out / "good"
    if not good_state.exists():
        _run(config, day - 1)
        _put_away(config, good_state)
    good = read_ledger(_at(config, good_state))
    for name, (spoil, rate) in ILLNESSES.items():
        state = arguments.out / name.replace(" ", "-")
        after = state.with_name(f"{state.name}-after")
        update = {"update": {"learning_rate": rate * config.update.learning_rate}}
        with _spoiled(config.data.path / Naming(True).format(day) / "events.csv", spoil):
            if not state.exists():
                _from(config, good_state)
                _run(with_settings(config, update, name), day)
                _put_away(config, state)
            if arguments.after and not after.exists():
                _from(config, state)
                _run(config, day + 1)
                _put_away(config, after)
        later = read_ledger(_at(config, after))[-1] if after.exists() else None
        _say(console, name, _at(config, state), read_ledger(_at(config, state))[-1], good, later)


@contextlib.contextmanager
def _spoiled(file: Path, spoil: Callable[[Rows], Rows]) -> Iterator[None]:
    """The file with what `spoil` makes of it; for the ledger the same delivery each time."""
    whole = file.read_text()
    try:
        _write(file, spoil(list(csv.DictReader(whole.splitlines()))))
        os.utime(file, (0, 0))
        yield
    finally:
        file.write_text(whole)
        os.utime(file, (0, 0))


def _from(config: Config, state: Path) -> None:
    # ML Metadata holds absolute paths: a state is run where it was made, and put away afterwards.
    shutil.rmtree(config.root, ignore_errors=True)
    shutil.copytree(state, config.root)


def _put_away(config: Config, state: Path) -> None:
    beside = state.with_name(f".{state.name}")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(config.root, beside)
    beside.rename(state)


def _at(config: Config, root: Path) -> Config:
    return config.model_copy(update={"root": root})


def _say(console: Console, name: str, config: Config, run: Run, good: Sequence[Run], later: Run | None) -> None:
    alerts = [alert.what for alert in alerts_of(run, good)]
    console.rule(name, align="left")
    lines = [
        f"decision  {run.action}: {run.reason}",
        f"verdict   {run.verdict}",
        f"pushed    {run.pushed or 'no'}",
        f"alerts    {', '.join(alerts) or 'none'}",
    ]
    if later is not None:
        lines.append(f"day after next-span recall of the model then in service: {later.next_span['recall']:.4f}")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    table = Table(box=SIMPLE_HEAD, title="outside of what the good days showed", title_justify="left")
    for column in ("tag", "good days", name, "times the range away"):
        table.add_column(column, justify="left" if column == "tag" else "right", no_wrap=True)
    outliers = outside(read_series(config.logs_path), [day.span for day in good if day.base_version], run.span)
    for tag, low, high, value, far in outliers[:SHOWN]:
        table.add_row(tag, f"{low:.4g} to {high:.4g}", f"{value:.4g}", f"{far:.1f}")
    console.print(table)
    console.print(f"{len(outliers)} numbers are outside.")


def outside(series: Series, good: Sequence[int], day: int) -> list[tuple[str, float, float, float, float]]:
    """Tags whose value on `day` no good day came near: tag, least, greatest, value, distance in times the range."""
    far = []
    for tag, values in series.items():
        before = [values[span] for span in good if span in values]
        if day not in values or len(before) < 3 or any(part in tag for part in _COST):
            continue
        low, high, value = min(before), max(before), values[day]
        away = max(low - value, value - high, 0.0)
        if away:
            far.append((tag, low, high, value, away / (high - low) if high > low else math.inf))
    return sorted(far, key=lambda entry: -entry[-1])


def read_series(logs: Path) -> Series:
    """Every scalar of the days, by TensorBoard's run and tag, then by span."""
    series: Series = {}
    for name in ("span", "candidate", "champion"):
        events = EventAccumulator(str(logs / "spans" / name), size_guidance={"tensors": 0})
        events.Reload()
        for tag in events.Tags()["tensors"]:
            if events.SummaryMetadata(tag).plugin_data.plugin_name == "scalars":
                title = tag if name == "span" else f"{name} {tag}"
                series[title] = {event.step: float(make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)}
    return series


def _run(config: Config, last: int) -> None:
    steps = make_plan(read_ledger(config), read_deliveries(config), Naming(True), last=last)
    run_steps(config, steps, Console(quiet=True))


def _write(file: Path, rows: Rows) -> None:
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
