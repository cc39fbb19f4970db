"""What a day costs before any learning: warmspan's day against a plain TFX pipeline's on the same 5,000 events.

    python -m benchmarks.fixed_cost [--events 5000] [--days 4] [--repeats 2]

Each side runs the days in a process of its own, in turn; the first day, which pays for first uses, is left out. What is
counted is the process's own processor seconds: another one's work on the machine is none of either side's cost. The
peer (`plain_tfx`) has standard components only, trains from nothing on the day alone, and evaluates one metric on one
slice; warmspan adds checks on every row, state, a champion that is tested on the whole day, warm start, three metrics
on seven slices, and a bundle.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.flat_cost import SETTINGS, thin
from pipeline.demo.simulator import simulate


def run_warmspan(root: Path, spans: list[str]) -> None:
    """Runs the days, and prints a line of JSON for each."""
    from absl import logging

    from pipeline.config import load_config
    from pipeline.orchestration.span_run import SpanRun
    from pipeline.spans import Naming

    logging.set_verbosity(logging.ERROR)
    config = load_config(root / "warmspan.yaml")
    for span in spans:
        nodes, starts = [], [time.process_time()]

        def started(node: str, nodes: list[str] = nodes, starts: list[float] = starts) -> None:
            nodes.append(node)
            starts.append(time.process_time())

        SpanRun(config, Naming(dated=True).parse(span), 1).run(started)
        first, *starts = [*starts, time.process_time()]
        seconds = {node: end - start for node, start, end in zip(nodes, starts, starts[1:], strict=False)}
        print(json.dumps({"span": span, "seconds": starts[-1] - first, "nodes": seconds}), flush=True)


def _measure(command: list[str]) -> list[dict]:
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return [json.loads(line) for line in output.splitlines() if line.startswith('{"span"')][1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--days", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--save", type=Path, help="write the figures to this JSON file")
    arguments = parser.parse_args()
    first = datetime.date(2024, 5, 6)
    spans = [(first + datetime.timedelta(day)).isoformat() for day in range(arguments.days)]
    costs: dict[str, list[dict]] = defaultdict(list)
    ratios = []
    for _ in range(arguments.repeats):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            simulate(root / "shop", first, arguments.days, seed=11, events_per_day=arguments.events * 2)
            for file in (root / "shop" / "events").glob("*/events.csv"):
                thin(file, arguments.events)
            (root / "warmspan.yaml").write_text(SETTINGS)
            plain = _measure([sys.executable, "-W", "ignore", "-m", "benchmarks.plain_tfx", folder, *spans])
            ours = _measure([sys.executable, "-W", "ignore", "-m", "benchmarks.fixed_cost", "run", folder, *spans])
        costs["plain TFX"] += plain
        costs["warmspan"] += ours
        ratios.append(_median(ours) / _median(plain))
    console = Console(width=100)
    for side, days in costs.items():
        title = f"{side}: a day of {arguments.events} events, processor seconds"
        table = Table("node", "median", "min to max", title=title)
        for node in sorted(days[0]["nodes"], key=lambda node: -days[0]["nodes"][node]):
            seconds = [day["nodes"][node] for day in days]
            table.add_row(node, f"{statistics.median(seconds):.2f}", f"{min(seconds):.2f} to {max(seconds):.2f}")
        table.add_row("all", f"{_median(days):.2f}", "", style="bold")
        console.print(table)
    console.print(
        f"warmspan / plain TFX: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f} over "
        f"{len(ratios)} repeats)"
    )
    if arguments.save:
        arguments.save.write_text(json.dumps({"events": arguments.events, "days": costs, "ratios": ratios}, indent=1))


def _median(days: list[dict]) -> float:
    return statistics.median(day["seconds"] for day in days)


if __name__ == "__main__":
    if sys.argv[1:2] == ["run"]:
        run_warmspan(Path(sys.argv[2]), sys.argv[3:])
    else:
        main()
