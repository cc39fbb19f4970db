"""What a training step costs: sequences against prefixes, and large tables against small ones.

    python -m benchmarks.training_speed [--data DATA] [--part histories ...] [--repeats 5] [--out FILE]

1. Positions a second of the sequential model, trained with a loss at every step of one forward pass, against the same
   model, settings and positions with an example for each prefix: on histories of 50 events that the benchmark makes,
   and on the sessions of DATA (see `continual_sessions`), which are short. Beside both stands the step with
   TensorFlow's own operations for the softmax's loss and for item dropout, as it was before these were mended.
2. The time of a step with a table of 1,000,000 items against one of 10,000, at the same batch and sampled softmax.

Seconds are those of the process's processors, so that whoever else works on the machine costs nothing; give it one core
(`taskset -c 0`) where threads should not wait for each other. The sides of a comparison take turns; printed are the
ratio of their medians and the spread of the turns' ratios. FILE gets all of it as JSON, and how short the sessions are.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.session_spans import read_spans
from trainer.input_pipeline import Sequences
from trainer.keras2 import tf
from trainer.models import build_model
from trainer.models.base import TableSizes
from trainer.models.sampled_softmax import Candidates
from trainer.optimizers import make_optimizer
from trainer.sequence_windows import Windows
from trainer.stability.base import NEW, Learner

_BATCH = 256
_PARAMS = {"dimension": 128, "blocks": 1, "negatives": 2048, "neighbours": 0}


_PARTS = ("histories", "sessions", "tables")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of session data")
    parser.add_argument("--part", action="append", choices=_PARTS, help="may be given again; all by default")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    parts, repeats, results = arguments.part or _PARTS, arguments.repeats, dict[str, Any]()
    if "histories" in parts:
        made = _histories(sequences=200, length=50, items=20_000)
        results["histories of 50 events"] = _sequences_against_prefixes(made, 20_000, 50, repeats)
    if "sessions" in parts and arguments.data:
        spans = read_spans(arguments.data / "events", "session_id", "item_id", "timestamp")
        results["sessions"] = _sequences_against_prefixes(spans.sequences(1), spans.items_until(1), 20, repeats)
    if "tables" in parts:
        results["tables"] = _large_table_against_small(repeats)
    if arguments.out:
        command = "python -m benchmarks.training_speed " + " ".join(sys.argv[1:])
        arguments.out.write_text(json.dumps({"command": command, **results}, indent=1) + "\n")


def _sequences_against_prefixes(sequences: Sequences, items: int, length: int, repeats: int) -> dict[str, Any]:
    whole = Windows.of(sequences, length)
    sides = {"sequences": whole, "prefixes": one_a_prefix(whole)}
    speeds = {side: _Speed(items, length, windows) for side, windows in sides.items()}
    with _operations_of_tensorflow():
        before = {f"{side} before": _Speed(items, length, windows) for side, windows in sides.items()}
    speeds |= before
    measured = _take_turns({side: speed.positions_a_second for side, speed in speeds.items()}, repeats)
    inputs = whole.end - whole.begin
    return {
        "events of a window": round(float(inputs.mean()) + 1, 2),
        "events before a position": round(float((inputs * (inputs + 1) / 2).sum() / inputs.sum()), 2),
        "steps computed over steps there": {side: round(speed.padding, 3) for side, speed in speeds.items()},
        "positions a second": {side: _median(values) for side, values in measured.items()},
        "ratios": {
            f"{one_side} / {other}": _ratio(f"{one_side} over {other}", measured[one_side], measured[other])
            for one_side, other in (
                ("sequences", "prefixes"),
                ("sequences before", "prefixes before"),
                ("sequences", "sequences before"),
                ("sequences", "prefixes before"),
            )
        },
    }


@contextlib.contextmanager
def _operations_of_tensorflow() -> Iterator[None]:
    """What is traced within takes the loss and the dropout as libraries have them."""

    def losses(
        queries: tf.Tensor, vectors: tf.Tensor, candidates: Candidates, certain: tf.Tensor, target: tf.Tensor
    ) -> tf.Tensor:
        scores = tf.matmul(queries, vectors, transpose_b=True)
        positions = tf.range(tf.shape(scores, tf.int64)[0])[:, None]
        at = tf.stack([tf.broadcast_to(positions, tf.shape(certain, tf.int64)), certain], axis=-1)
        weight = tf.broadcast_to(candidates.log_weight, tf.shape(scores))
        of_certain = tf.minimum(tf.gather(candidates.log_weight, certain), 0.0)
        weight = tf.tensor_scatter_nd_update(weight, tf.reshape(at, [-1, 2]), tf.reshape(of_certain, [-1]))
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=target, logits=scores + weight)

    with (
        mock.patch("trainer.models.sampled_softmax.losses", losses),
        mock.patch("trainer.models.sequence_model.random_dropout", tf.nn.dropout),
    ):
        yield


def _large_table_against_small(repeats: int) -> dict[str, Any]:
    windows = Windows.of(_histories(sequences=2_000, length=6, items=10_000), 20)
    speeds = {items: _Speed(items, 20, windows) for items in (10_000, 1_000_000)}
    measured = _take_turns({items: speed.seconds_a_step for items, speed in speeds.items()}, repeats)
    return {
        "seconds a step": {str(items): _median(values) for items, values in measured.items()},
        "ratio": _ratio("seconds a step, 1,000,000 items over 10,000", measured[1_000_000], measured[10_000]),
    }


def one_a_prefix(windows: Windows) -> Windows:
    """The same positions, each a window of its own that predicts its last item alone."""
    owner = np.repeat(np.arange(len(windows)), windows.targets)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(windows.targets) - windows.targets, windows.targets)
    target = windows.first[owner] + place
    return dataclasses.replace(windows, begin=windows.begin[owner], end=target, first=target, key=windows.key[owner])


class _Speed:
    """A model of `items` rows and batches to train it on."""

    def __init__(self, items: int, length: int, windows: Windows) -> None:
        model = build_model("sasrec", TableSizes(items + 2, 2, 2), length, {**_PARAMS, "reverse": False})
        model.set_popularity(np.ones(items + 2))
        self._learner = Learner(model, [])
        self._learner.compile(optimizer=make_optimizer("adam", 0.001, None, 0.1, 0.0))
        self._batches = list(itertools.islice(windows.dataset(_BATCH, shuffle_seed=1), 40))
        self._positions = sum(int(np.count_nonzero(batch["item"])) for batch in self._batches)
        steps = sum(int(np.count_nonzero(batch["history"])) for batch in self._batches)
        self.padding = sum(int(tf.size(batch["history"])) for batch in self._batches) / steps
        self._step = tf.function(self._learner.train_step, reduce_retracing=True)
        for _ in range(2):  # traced, and every length met
            self._seconds()

    def positions_a_second(self) -> float:
        return self._positions / self._seconds()

    def seconds_a_step(self) -> float:
        return self._seconds() / len(self._batches)

    def _seconds(self) -> float:
        started = time.process_time()
        for batch in self._batches:
            loss = self._step({NEW: batch})
        float(loss["loss"])
        return time.process_time() - started


def _histories(sequences: int, length: int, items: int) -> Sequences:
    rows = np.random.default_rng(1).integers(2, items + 2, sequences * length)
    return Sequences(
        items=rows,
        timestamps=np.arange(len(rows)),
        weights=np.ones(len(rows), np.float32),
        splits=np.arange(sequences + 1) * length,
        key=np.ones(sequences, np.int64),
        first_new=np.zeros(sequences, np.int64),
        first_today=np.zeros(sequences, np.int64),
    )


def _take_turns(sides: dict, repeats: int) -> dict:
    seconds_by_side: dict = {side: [] for side in sides}
    for _ in range(repeats):
        for side, measure in sides.items():
            seconds_by_side[side].append(measure())
    return seconds_by_side


def _ratio(what: str, ours: list[float], other: list[float]) -> list[float]:
    """Of the medians, and the least and the largest of a turn."""
    ratios = [a / b for a, b in zip(ours, other, strict=True)]
    middle = statistics.median(ours) / statistics.median(other)
    values = [round(value, 2) for value in (middle, min(ratios), max(ratios))]
    print(f"{what}: {_median(ours)} / {_median(other)} = {values[0]} ({values[1]} to {values[2]})", flush=True)
    return values


def _median(values: list[float]) -> float:
    return float(f"{statistics.median(values):.4g}")


if __name__ == "__main__":
    main()
