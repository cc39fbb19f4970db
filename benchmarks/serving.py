"""How fast the embedded server answers: throughput and latency with micro-batching and without, beside NumPy.

    python -m benchmarks.serving [--items 10000 100000] [--clients 1 8 64] [--rounds 5] [--seconds 2] [--rates]

For each size of the catalogue a dot-product model of width 64 is written, and two servers hold it, each a process of
its own: one batches concurrent requests, the other does not. The load comes from this process: a request is one user
with up to 20 items of history, an answer 20 items. In each round 1, 8 and 64 clients ask as fast as they can, both
servers in turn, and `benchmarks.matvec_process` measures NumPy's product of the same table with a vector on one thread.
Every ratio is of two figures of one round. CPU time is the server's, of a clock of 10 ms.

With `--rates`, requests then come to each server at rising fixed rates up to saturation, and at half of the saturation
rate `--rounds` times.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.matvec_process import KINDS, MatvecProcess
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


def measure_round(servers: Mapping[str, ServerProcess], bodies: Sequence[Any], clients: int, seconds: float) -> dict:
    """Answers a second, latencies and the server's CPU time an answer, of each server in turn.

    Raises:
      RuntimeError: a request failed.
    """
    figures = {}
    for name, server in servers.items():
        before = server.cpu_seconds
        report = run_clients(server.predict, bodies, clients, seconds)
        if report.errors:
            raise RuntimeError(f"Requests failed: {dict(report.errors)}")
        cpu = (server.cpu_seconds - before) / report.answered * 1000
        figures[name] = {"answers": report.throughput, "p50": report.p50, "p99": report.p99, "cpu": cpu}
    return figures


def ratios(rounds: Sequence[dict], clients: Sequence[int]) -> dict[str, list[float]]:
    """Figures over figures of the same round, by what they say."""
    of: dict[str, list[float]] = {}
    for figures in rounds:
        numpy = figures["numpy"]["product_and_partition"]["p50"]
        named = {
            "graph / product": figures["numpy"]["graph"]["p50"] / figures["numpy"]["product"]["p50"],
            "graph / product and partition": figures["numpy"]["graph"]["p50"] / numpy,
        }
        for count in clients:
            alone, batched = figures[str(count)]["alone"], figures[str(count)]["batched"]
            named[f"{count} clients: answers batched / alone"] = batched["answers"] / alone["answers"]
            named[f"{count} clients: CPU alone / batched"] = alone["cpu"] / batched["cpu"]
            named[f"{count} clients: p50 alone / product and partition"] = alone["p50"] / numpy
            named[f"{count} clients: p50 batched / product and partition"] = batched["p50"] / numpy
            named[f"{count} clients: CPU batched / product and partition"] = batched["cpu"] / numpy
        for name, ratio in named.items():
            of.setdefault(name, []).append(ratio)
    return of


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


def measure(items: int, folder: Path, seconds: float, rounds: int, clients: Sequence[int], rates: bool = True) -> dict:
    """All figures of one size of catalogue."""
    write_model(folder / "shop" / "1", items)
    (folder / "batching.config").write_text(BATCHING)
    flags = ("--enable_batching", f"--batching_parameters_file={folder / 'batching.config'}")
    bodies = requests(items, 1000)
    with (
        ServerProcess("shop", folder / "shop") as alone,
        ServerProcess("shop", folder / "shop", *flags) as batched,
        MatvecProcess(folder / "shop" / "1", items) as matvec,
    ):
        servers = {"alone": alone, "batched": batched}
        for server in servers.values():
            run_clients(server.predict, bodies, max(clients), 1.0)
        measured = []
        for _ in range(rounds):
            figures: dict[str, Any] = {"load_average": os.getloadavg()[0], "numpy": matvec.measure()}
            for count in clients:
                figures[str(count)] = measure_round(servers, bodies, count, seconds)
            measured.append(figures)
        result = {"items": items, "seconds": seconds, "rounds": measured, "ratios": ratios(measured, clients)}
        if rates:
            result |= {name: latency(server.predict, bodies, seconds, rounds) for name, server in servers.items()}
    return result


def _print(console: Console, result: dict, clients: Sequence[int]) -> None:
    def median(*path: str) -> str:
        values = []
        for figures in result["rounds"]:
            for name in path:
                figures = figures[name]
            values.append(figures)
        return f"{statistics.median(values):.3g}"

    console.print(f"\n{result['items']:,} items, medians of {len(result['rounds'])} rounds", highlight=False)
    table = Table("what", "answers/s", "p50 ms", "p99 ms", "CPU ms an answer", show_edge=False)
    for kind in KINDS:
        table.add_row(kind, "", *(median("numpy", kind, name) for name in ("p50", "p99")), "")
    for count in clients:
        for mode in ("alone", "batched"):
            shown = (median(str(count), mode, name) for name in ("answers", "p50", "p99", "cpu"))
            table.add_row(f"{count} clients, {mode}", *shown)
    console.print(table)
    for name, values in result["ratios"].items():
        spread = f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
        console.print(f"{name}: {spread}", highlight=False)
    if "alone" in result:
        _print_rates(console, result)


def _print_rates(console: Console, result: dict) -> None:
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
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each run is")
    parser.add_argument("--rates", action="store_true", help="rising fixed rates, too")
    parser.add_argument("--save", type=Path, help="write the figures to this JSON file")
    arguments = parser.parse_args()
    console = Console()
    load = ", ".join(f"{load_average:.1f}" for load_average in os.getloadavg())
    console.print(f"{os.cpu_count()} cores; load average before: {load}", highlight=False)
    command = ["python", "-m", "benchmarks.serving", *sys.argv[1:]]
    results: list[dict] = []
    for items in arguments.items:
        with tempfile.TemporaryDirectory() as folder:
            result = measure(
                *(items, Path(folder), arguments.seconds, arguments.rounds, arguments.clients), rates=arguments.rates
            )
        results.append(result)
        _print(console, result, arguments.clients)
        if arguments.save:
            saved = {"command": " ".join(command), "cores": os.cpu_count(), "sizes": results}
            arguments.save.write_text(json.dumps(saved, indent=1) + "\n")


if __name__ == "__main__":
    main()
