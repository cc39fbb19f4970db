"""Does a day cost the same in the third week as in the first? Seconds a node over days of equal size.

    python -m benchmarks.flat_cost [--days 20] [--events 3000]

Runs a simulated shop through the real pipeline, in one process, and prints the seconds of every node for a few days
and the ratio of late days to early ones. Single days are noisy on a shared machine, so three days are averaged at
either end: days 2 to 4 against the last three, by the clock and by processor time.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.config import load_config
from pipeline.demo.simulator import SHOP_SETTINGS, simulate
from pipeline.ledger.runs import Run, read_ledger
from pipeline.orchestration.daily_run import run_steps
from pipeline.planning.deliveries import read_deliveries
from pipeline.planning.run_plan import make_plan
from pipeline.spans import Naming

SETTINGS = (
    SHOP_SETTINGS
    + """\
history: {length: 20}
gate: {thresholds: {recall: {floor: 0.0, max_drop: 1.0}}}
"""
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=20)
    parser.add_argument("--events", type=int, default=3000)
    parser.add_argument("--save", type=Path, help="write the figures to this JSON file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        first = datetime.date(2024, 5, 6)
        simulate(base / "shop", first, arguments.days, seed=11, events_per_day=arguments.events * 2)
        for file in (base / "shop" / "events").glob("*/events.csv"):
            thin(file, arguments.events)
        (base / "warmspan.yaml").write_text(SETTINGS)
        config = load_config(base / "warmspan.yaml")
        processor = []
        for step in make_plan([], read_deliveries(config), Naming(dated=True)):
            started = time.process_time()
            run_steps(config, [step], Console(quiet=True))
            processor.append(time.process_time() - started)
        ledger = read_ledger(config)
    early, late = ledger[1:4], ledger[-3:]
    table = Table("node", "day 2-4, s", "last 3 days, s", "ratio", title=f"{arguments.events} events a day")
    nodes = sorted(ledger[0].seconds, key=lambda node: -_mean(late, node))
    for node in nodes:
        table.add_row(node, f"{_mean(early, node):.2f}", f"{_mean(late, node):.2f}", "")
    totals = [sum(run.seconds.values()) for run in ledger]
    first, last = statistics.mean(totals[1:4]), statistics.mean(totals[-3:])
    table.add_row("all", f"{first:.2f}", f"{last:.2f}", f"{last / first:.2f}", style="bold")
    console = Console(width=100)
    console.print(table)
    days = f"day 3: {totals[2]:.2f} s, day {len(totals)}: {totals[-1]:.2f} s"
    console.print(f"{days}, ratio {totals[-1] / totals[2]:.2f}")
    early_cost, late_cost = statistics.mean(processor[1:4]), statistics.mean(processor[-3:])
    costs = f"day 2-4: {early_cost:.2f} s, last 3 days: {late_cost:.2f} s"
    console.print(f"processor time, {costs}, ratio {late_cost / early_cost:.2f}")
    console.print("processor seconds of every day: " + " ".join(f"{seconds:.1f}" for seconds in processor))
    console.print("seconds of every day: " + " ".join(f"{total:.1f}" for total in totals))
    console.print(f"rows of the item table: {ledger[1].item_rows} -> {ledger[-1].item_rows}, "
                  f"of the key table: {ledger[1].key_rows} -> {ledger[-1].key_rows}")  # fmt: skip
    if arguments.save:
        arguments.save.write_text(
            json.dumps({"events": arguments.events, "seconds": [dict(run.seconds) for run in ledger]}, indent=1)
        )


def thin(file: Path, events: int) -> None:
    """Keeps every n-th row, so that each day has the same number of events spread over all its hours."""
    header, *rows = file.read_text().splitlines(keepends=True)
    if len(rows) < events:
        raise SystemExit(f"A simulated day has {len(rows)} events, fewer than the {events} asked for.")
    file.write_text(header + "".join(rows[number * len(rows) // events] for number in range(events)))


def _mean(runs: list[Run], node: str) -> float:
    return statistics.mean(run.seconds.get(node, 0.0) for run in runs)


if __name__ == "__main__":
    main()
