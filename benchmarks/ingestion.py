"""Rows a second and memory of SpanExampleGen against TFX's CsvExampleGen, on the same rows in one run.

    python benchmarks/ingestion.py --rows 2000000 --repeats 3 --save

Every measurement is a process of its own. Seconds are those of the executor's `Do` (imports are the same for both and
are not counted); CPU s is the process's own time, which a busy machine stretches less; memory is the peak of the
process and its children, read every 50 ms, imports included.
SpanExampleGen runs with all its checks: two reject rules, the span's window, weights, duplicates, the cut by time.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

SPAN = 15_828  # 2013-05-03
DAY = "2013-05-03"
REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = REPOSITORY / "benchmarks" / "results" / "ingestion.json"
FIXED_COST_ROWS = 5_000
ROW_GROUP_ROWS = 131_072


def make_rows(folder: Path, rows: int) -> None:
    """Writes the same events as `csv/<day>/events.csv` and `parquet/<day>/events.parquet`."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet

    draw = np.random.default_rng(1)
    table = pa.table(
        {
            "order": [
                f"{kind}{number}"
                for kind, number in zip(
                    np.where(draw.random(rows) < 0.01, "C", "A").tolist(),
                    draw.integers(10**5, 10**6, rows).tolist(),
                    strict=True,
                )
            ],
            "user_id": [f"u{number:06d}" for number in draw.zipf(1.3, rows) % 200_000],
            "item_id": [f"{number:07d}" for number in draw.zipf(1.2, rows) % 40_000],
            "rating": draw.integers(0, 11, rows),
            "timestamp": SPAN * 86_400 + np.sort(draw.integers(0, 86_400, rows)),
        }
    )
    for name in ("csv", "parquet"):
        (folder / name / DAY).mkdir(parents=True)
    with (folder / "csv" / DAY / "events.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(table.column_names)
        for batch in table.to_batches(max_chunksize=ROW_GROUP_ROWS):
            writer.writerows(zip(*(column.to_pylist() for column in batch.columns), strict=True))
    pa.parquet.write_table(table, folder / "parquet" / DAY / "events.parquet", row_group_size=ROW_GROUP_ROWS)


def measure(engine: str, base: str, out: str) -> dict[str, float]:
    """Runs one executor in this process; answers its seconds and the events it wrote."""
    sys.path.insert(0, str(REPOSITORY))
    from tfx.types import standard_artifacts
    from tfx.utils import proto_utils

    examples = standard_artifacts.Examples()
    examples.uri = os.path.join(out, "examples", "1")
    os.makedirs(examples.uri)
    if engine == "CsvExampleGen":
        from apache_beam.runners.portability.fn_api_runner import FnApiRunner
        from tfx.components import CsvExampleGen
        from tfx.components.example_gen.csv_example_gen import executor as csv_executor
        from tfx.dsl.components.base import base_beam_executor

        component = CsvExampleGen(input_base=os.path.join(base, DAY))
        import apache_beam as beam

        executor: Any = csv_executor.Executor(
            base_beam_executor.BaseBeamExecutor.Context(
                make_beam_pipeline_fn=lambda: beam.Pipeline(runner=FnApiRunner(), argv=[])
            )
        )
    else:
        from components.span_example_gen import SpanExampleGen
        from components.span_example_gen import executor as span_executor

        data = {
            "format": engine,
            "timestamp_unit": "s",
            "columns": {"key": "user_id", "item": "item_id", "timestamp": "timestamp", "weight": "rating"},
            "span_hours": 24,
            "weight_above": 0,
            "reject": [
                {"column": "order", "matches": "C", "reason": "cancellation"},
                {"column": "item_id", "matches": "TEST", "reason": "test_item"},
            ],
            "max_reject_fraction": 0.2,
        }
        component = SpanExampleGen(base, data, SPAN, "{YYYY}-{MM}-{DD}/*", 0.1)
        executor = span_executor.Executor()
    properties = {
        name: value if isinstance(value, (int, str)) else proto_utils.proto_to_json(value)
        for name, value in component.exec_properties.items()
        if value is not None
    }
    if engine != "CsvExampleGen":
        from components.span_example_gen.driver import SpanDriver

        properties = SpanDriver(None).resolve_exec_properties(properties, None, None)
    began, cpu = time.perf_counter(), time.process_time()
    executor.Do({}, {"examples": [examples]}, properties)
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
        "rejects": examples.get_int_custom_property("rejects"),
        "duplicates": examples.get_int_custom_property("duplicates"),
        "events": examples.get_int_custom_property("events"),
    }


def run_measurement(engine: str, base: Path) -> dict[str, float]:
    """Measures in a process of its own and watches its memory, children included."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-W", "ignore", __file__, "--engine", engine, "--base", str(base), "--out", out]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "TF_USE_LEGACY_KERAS": "1"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        peak = _PeakMemory(process.pid)
        peak.start()
        output, errors = process.communicate()
        peak.stop()
    if process.returncode:
        raise SystemExit(f"{engine} failed:\n{errors[-3000:]}")
    return {**json.loads(output.strip().splitlines()[-1]), "gigabytes": peak.bytes / 1e9, "load_before": load}


class _PeakMemory(threading.Thread):
    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._ended = pid, threading.Event()
        self.bytes = 0

    def run(self) -> None:
        import psutil

        while not self._ended.wait(0.05):
            try:
                process = psutil.Process(self._pid)
                processes = [process, *process.children(recursive=True)]
                self.bytes = max(self.bytes, sum(member.memory_info().rss for member in processes))
            except psutil.Error:
                continue

    def stop(self) -> None:
        self._ended.set()
        self.join()


def summarise(engine: str, rows: int, runs: list[dict[str, float]]) -> dict[str, Any]:
    """Medians and ranges over the repeats."""
    rates = [rows / run["seconds"] for run in runs]
    return {
        "engine": engine,
        "rows": rows,
        "rows_per_second": statistics.median(rates),
        "rows_per_second_range": [min(rates), max(rates)],
        "seconds": statistics.median(run["seconds"] for run in runs),
        "cpu_seconds": statistics.median(run["cpu_seconds"] for run in runs),
        "gigabytes": statistics.median(run["gigabytes"] for run in runs),
        "gigabytes_range": [min(run["gigabytes"] for run in runs), max(run["gigabytes"] for run in runs)],
        "load_before": max(run["load_before"] for run in runs),
        "repeats": len(runs),
    }


def main() -> None:
    """Makes the rows, measures each engine in turn, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument(
        "--peer-rows", type=int, help="rows for CsvExampleGen, where they shall be fewer; default: the same"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.relative_to(REPOSITORY)}")
    for hidden in ("--engine", "--base", "--out"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        print(json.dumps(measure(options.engine, options.base, options.out)))
        return
    peer_rows = options.peer_rows or options.rows
    with tempfile.TemporaryDirectory() as folder:
        sizes = {rows: Path(folder) / str(rows) for rows in {options.rows, peer_rows, FIXED_COST_ROWS}}
        for rows, place in sizes.items():
            make_rows(place, rows)
        plans = [
            ("csv", options.rows, "csv"),
            ("parquet", options.rows, "parquet"),
            ("CsvExampleGen", peer_rows, "csv"),
        ]
        plans += [(engine, FIXED_COST_ROWS, kind) for engine, kind in (("csv", "csv"), ("CsvExampleGen", "csv"))]
        runs: dict[tuple[str, int], list[dict[str, float]]] = {}
        for _ in range(options.repeats):
            for engine, rows, kind in plans:
                runs.setdefault((engine, rows), []).append(run_measurement(engine, sizes[rows] / kind))
                print(f"{engine} {rows:,}: {runs[engine, rows][-1]}", file=sys.stderr)
    results = [summarise(engine, rows, measured) for (engine, rows), measured in runs.items()]
    peer = next(result for result in results if result["engine"] == "CsvExampleGen" and result["rows"] == peer_rows)
    titles = {
        "rows": 34,
        "seconds": 9,
        "CPU s": 8,
        "rows/s": 10,
        "(min..max)": 20,
        "GB": 6,
        "speed": 8,
        "by CPU": 8,
        "memory": 8,
    }
    print("".join(f"{title:>{width}}" for title, width in titles.items()))
    for result in results:
        low, high = result["rows_per_second_range"]
        name = result["engine"] if result["engine"] == "CsvExampleGen" else f"SpanExampleGen {result['engine']}"
        ratios = ""
        if result["rows"] == options.rows or result is peer:
            result["speed_ratio"] = result["rows_per_second"] / peer["rows_per_second"]
            result["cpu_ratio"] = (peer["cpu_seconds"] / peer["rows"]) / (result["cpu_seconds"] / result["rows"])
            result["memory_ratio"] = result["gigabytes"] / peer["gigabytes"]
            ratios = f"{result['speed_ratio']:7.1f}x{result['cpu_ratio']:7.1f}x{result['memory_ratio']:7.2f}x"
        print(
            f"{name:24}{result['rows']:>10,}{result['seconds']:>9.2f}{result['cpu_seconds']:>8.2f}{result['rows_per_second']:>10,.0f}"
            f"{f'({low:,.0f}..{high:,.0f})':>20}{result['gigabytes']:>6.2f}{ratios}"
        )
    if options.save:
        RESULTS.parent.mkdir(exist_ok=True)
        machine = {"cores": os.cpu_count(), "python": platform.python_version()}
        RESULTS.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
