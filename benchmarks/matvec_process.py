"""What a request can't be faster than: NumPy's product of the item table with a vector, on one thread.

A process of its own, so that neither OpenBLAS' threads nor the load's interpreter stand in the way. It measures in turn
the bare product, the product with `argpartition` for the best 20, and the served graph called without a network, as the
embedded server calls it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import numpy as np

from benchmarks.serving_process import REPOSITORY

CALLS, K = 200, 20
KINDS = ("product", "product_and_partition", "graph")


class MatvecProcess:
    """Measures when it is asked, and ends with the `with` block."""

    def __init__(self, bundle: Path, items: int) -> None:
        """`bundle`: a version folder of `benchmarks.serving_model` with `items` items."""
        self._command = [sys.executable, "-m", "benchmarks.matvec_process", str(bundle), str(items)]

    def measure(self) -> dict[str, dict[str, float]]:
        """Median and 99th percentile in milliseconds of `CALLS` calls of each of `KINDS`."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def __enter__(self) -> MatvecProcess:
        self.process = subprocess.Popen(
            self._command,
            cwd=REPOSITORY,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


def _times(calls: dict[str, Callable[[int], object]]) -> dict[str, dict[str, float]]:
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(CALLS):
        for name, call in calls.items():
            began = time.perf_counter()
            call(number)
            seconds[name].append(time.perf_counter() - began)
    shares = {name: np.percentile(values, [50, 99]) * 1000 for name, values in seconds.items()}
    return {name: {"p50": float(p50), "p99": float(p99)} for name, (p50, p99) in shares.items()}


def main() -> None:
    """`python -m benchmarks.matvec_process BUNDLE ITEMS`: a line of JSON for each line that it is given."""
    from serving.server.process_settings import prepare_process

    prepare_process()
    from benchmarks.serving_model import item_table, requests
    from serving.bundle.saved_model import SavedModel
    from serving.server.json_request import predict_inputs

    bundle, items = Path(sys.argv[1]), int(sys.argv[2])
    table = item_table(items)
    queries = np.random.default_rng(4).standard_normal((CALLS, table.shape[1]), np.float32)
    model = SavedModel("shop", 1, bundle)
    model.warm_up()
    asked = [predict_inputs(body, model.signature("").inputs)[0] for body in requests(items, CALLS)]
    calls: dict[str, Callable[[int], object]] = {
        "product": lambda number: table @ queries[number],
        "product_and_partition": lambda number: np.argpartition(table @ queries[number], len(table) - K),
        "graph": lambda number: model.run("", asked[number]),
    }
    _times(calls)
    for _ in sys.stdin:
        print(json.dumps(_times(calls)), flush=True)


if __name__ == "__main__":
    main()
