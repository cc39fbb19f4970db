"""How fast the embedded server answers: latency at rising rates, and throughput with micro-batching and without.

    python -m benchmarks.serving [--items 10000 100000 1000000] [--seconds 5] [--repeats 3] [--clients 64]

For each size of the catalogue a dot-product model of width 64 is written, and two servers hold it, each a process of
its own: one batches concurrent requests, the other does not. The load comes from this process: a request is one user
with up to 20 items of history, an answer 20 items. First 64 clients ask as fast as they can, both servers in turn,
`--repeats` times: a ratio of throughputs for each pair of runs. Then, for each server, requests come at rising fixed
rates up to saturation, and at half the saturation rate `--repeats` times.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.serving_model import requests, write_model
from benchmarks.serving_process import ServerProcess
from serving.load_test import LoadReport, find_saturation, run_clients, run_load_test

BATCHING = """\
max_batch_size { value: 64 }
batch_timeout_micros { value: 0 }
max_enqueued_batches { value: 100 }
pad_variable_length_inputs: true
"""
_RATE_AT_FIRST = 20.0


def throughput(alone: str, batched: str, bodies: Sequence[Any], clients: int, seconds: float, repeats: int) -> dict:
    """Answers a second of both servers, in turn, and their ratio pair by pair."""
    pairs = []
    for _ in range(repeats):
        reports = [run_clients(url, bodies, clients, seconds) for url in (alone, batched)]
        pairs.append([report.throughput for report in reports])
        if any(report.errors for report in reports):
            raise RuntimeError(f"Requests failed: {[dict(report.errors) for report in reports]}")
    return {"clients": clients, "pairs": pairs, "ratios": [batched / alone for alone, batched in pairs]}


def latency(url: str, bodies: Sequence[Any], seconds: float, repeats: int) -> dict:
    """Open-loop runs at rising rates, then at half the saturation rate."""
    saturation = find_saturation(url, bodies, first=_RATE_AT_FIRST, seconds=seconds)
    half = [
        run_load_test(url, bodies, saturation.rate / 2, max(seconds, 200 / saturation.rate)) for _ in range(repeats)
    ]
    return {
        "rising": [asdict(report) for report in saturation.reports],
        "saturation": saturation.rate,
        "reached": saturation.reached,
        "half": [asdict(report) for report in half],
        "p99_to_p50": [report.p99 / report.p50 for report in half],
    }


def measure(items: int, folder: Path, seconds: float, repeats: int, clients: int) -> dict:
    """All figures of one size of catalogue."""
    write_model(folder / "shop" / "1", items)
    (folder / "batching.config").write_text(BATCHING)
    flags = ("--enable_batching", f"--batching_parameters_file={folder / 'batching.config'}")
    bodies = requests(items, 1000)
    with (
        ServerProcess("shop", folder / "shop") as alone,
        ServerProcess("shop", folder / "shop", *flags) as batched,
    ):
        for server in (alone, batched):
            run_clients(server.predict, bodies, clients, 1.0)
        return {
            "items": items,
            "throughput": throughput(alone.predict, batched.predict, bodies, clients, seconds, repeats),
            "alone": latency(alone.predict, bodies, seconds, repeats),
            "batched": latency(batched.predict, bodies, seconds, repeats),
        }


def _print(console: Console, result: dict) -> None:
    ratios, pairs = result["throughput"]["ratios"], result["throughput"]["pairs"]
    console.print(
        f"\n{result['items']:,} items, {result['throughput']['clients']} clients: "
        f"{statistics.median(pair[0] for pair in pairs):.0f} requests/s alone, "
        f"{statistics.median(pair[1] for pair in pairs):.0f} batched, "
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        highlight=False,
    )
    table = Table("server", "requests/s", "answered", "p50 ms", "p95 ms", "p99 ms", "errors", show_edge=False)
    for mode in ("alone", "batched"):
        rows = [(LoadReport(**report), "") for report in result[mode]["rising"]]
        rows += [(LoadReport(**report), " half of saturation") for report in result[mode]["half"]]
        for report, remark in rows:
            table.add_row(
                mode + remark,
                f"{report.rate:.0f}",
                f"{report.throughput:.0f}",
                *(f"{value:.1f}" for value in (report.p50, report.p95, report.p99)),
                ", ".join(f"{count} x {what}" for what, count in report.errors.items()),
            )
    console.print(table)
    for mode in ("alone", "batched"):
        shares = ", ".join(f"{share:.2f}" for share in result[mode]["p99_to_p50"])
        known = "" if result[mode]["reached"] else " (not reached)"
        rate = f"saturation at {result[mode]['saturation']:.0f} requests/s{known}"
        console.print(f"{mode}: {rate}; at half of it p99 is p50 times {shares}", highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each run is")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--save", type=Path, help="write the figures to this JSON file")
    arguments = parser.parse_args()
    console = Console()
    load = ", ".join(f"{load_average:.1f}" for load_average in os.getloadavg())
    console.print(f"{os.cpu_count()} cores; load average before: {load}", highlight=False)
    results = []
    for items in arguments.items:
        with tempfile.TemporaryDirectory() as folder:
            results.append(measure(items, Path(folder), arguments.seconds, arguments.repeats, arguments.clients))
        _print(console, results[-1])
        if arguments.save:
            arguments.save.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
