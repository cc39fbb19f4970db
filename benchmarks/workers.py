"""What a second worker brings: the epochs of one process against those of two on loopback, in one run.

    python -m benchmarks.workers [--turns 5] [--save FILE]

Both train the same two-tower on the same made-up span with the same batches, by `trainer.update`. The process that
trains alone is the chief of the two, between two trainings that it shares; the other one waits then. An update's first
epoch, in which its graph is traced, is left out. On one machine both have the same cores: what is measured is what
sharing costs, not what a second machine brings.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from trainer.distribution import ALONE, Distribution
from trainer.input_pipeline import Sequences
from trainer.models.base import TableSizes
from trainer.settings import ModelSpec, Policy
from trainer.update import Span, update
from trainer.workers import multi_worker, this_worker

_SIZES = TableSizes(items=20_000, keys=5_000, first_row=2)
_SPEC = ModelSpec("two_tower", {"dimension": 64, "negatives": 1000}, 20)
_POLICY = Policy(epochs=4, batch_size=1024, patience=99)
_KEYS, _EVENTS = 2_000, 10  # of the span


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=10.0, help="what is not done then is left out")
    parser.add_argument("--save", type=Path, help="write the figures to this JSON file")
    parser.add_argument("--part", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        _take_part(arguments.part, arguments.turns)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        _run_both(file, arguments.turns, 60 * arguments.minutes)
        figures = json.loads(file.read_text())
    for name in ("seconds", "chief_processor_seconds"):
        alone, shared = figures["alone"][name], figures["two_workers"][name]
        ratios = [first / second for first, second in zip(alone, shared, strict=True)]
        figures[f"{name}_alone_over_two"] = ratios
        print(
            f"{name} of an epoch: alone {statistics.median(alone):.2f}, two workers {statistics.median(shared):.2f}; "
            f"ratio {statistics.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} turns"
        )
    if arguments.save:
        arguments.save.write_text(json.dumps(figures, indent=1) + "\n")


def _run_both(file: Path, turns: int, limit: float) -> None:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for of in sockets:
            of.bind(("localhost", 0))
        workers = [f"localhost:{of.getsockname()[1]}" for of in sockets]
    processes = []
    for index in range(2):
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        command = [sys.executable, "-m", "benchmarks.workers", "--part", str(file), "--turns", str(turns)]
        processes.append(subprocess.Popen(command, env={**os.environ, "TF_CONFIG": json.dumps(config)}))
    end = time.monotonic() + limit
    try:
        for process in processes:
            process.wait(max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        print(f"The limit of {limit:.0f} seconds was reached.")
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _take_part(file: Path, turns: int) -> None:
    worker = this_worker()
    shared = multi_worker(worker, file.parent / "progress")
    shared.progress = None  # what is kept for a worker that is lost is another matter
    figures: dict[str, dict[str, list[float]]] = {}
    for _ in range(turns):
        sides = {"alone": ALONE, "two_workers": shared} if worker.is_chief else {"two_workers": shared}
        for side, distribution in sides.items():
            seconds, processor = _epoch(distribution)
            of_side = figures.setdefault(side, {"seconds": [], "chief_processor_seconds": []})
            of_side["seconds"].append(seconds)
            of_side["chief_processor_seconds"].append(processor)
        if worker.is_chief:
            file.write_text(json.dumps(figures))


def _epoch(distribution: Distribution) -> tuple[float, float]:
    """Mean seconds of an epoch, but for the first: by the clock, and of the processor."""
    times: list[tuple[float, float]] = []

    def on_epoch(span: int, epoch: int, watched: float) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        times.append((time.perf_counter(), used.ru_utime + used.ru_stime))

    span = Span(1, _sequences())
    nothing = Sequences.empty().positions()
    popularity = np.ones(_SIZES.items)
    update(_SPEC, _SIZES, [span], nothing, popularity, _POLICY, on_epoch=on_epoch, distribution=distribution)
    (begun, used), (ended, used_then) = times[0], times[-1]
    count = len(times) - 1
    return (ended - begun) / count, (used_then - used) / count


def _sequences() -> Sequences:
    random = np.random.default_rng(1)
    count = _KEYS * _EVENTS
    items = np.minimum(random.zipf(1.2, count) + _SIZES.first_row, _SIZES.items - 1).astype(np.int64)
    zeros = np.zeros(_KEYS, np.int64)
    return Sequences(
        items=items,
        timestamps=np.arange(count, dtype=np.int64),
        weights=np.ones(count, np.float32),
        splits=np.arange(0, count + 1, _EVENTS, dtype=np.int64),
        key=random.integers(_SIZES.first_row, _SIZES.keys, _KEYS),
        first_new=zeros,
        first_today=zeros,
    )


if __name__ == "__main__":
    main()
