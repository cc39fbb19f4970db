"""What a training step costs: sequences against prefixes, and large tables against small ones.

    python -m benchmarks.training_speed [--data DATA] [--repeats 5]

1. Positions a second of the sequential model, trained with a loss at every step of one forward pass, against the same
   model, settings and positions with an example for each prefix: on histories of 50 events that the benchmark makes,
   and on the sessions of DATA (see `continual_sessions`), which are short.
2. The time of a step with a table of 1,000,000 items against one of 10,000, at the same batch and sampled softmax.

The two sides of a comparison take turns; printed are the ratio of their medians and the spread of the turns' ratios.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import statistics
import time
from pathlib import Path

import numpy as np

from benchmarks.session_spans import read_spans
from trainer.input_pipeline import Sequences
from trainer.keras2 import tf
from trainer.models import build_model
from trainer.models.base import TableSizes
from trainer.optimizers import make_optimizer
from trainer.sequence_windows import Windows
from trainer.stability.base import NEW, Learner

_BATCH = 256
_PARAMS = {"dimension": 128, "blocks": 1, "negatives": 2048, "neighbours": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of session data")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    made = _histories(sequences=200, length=50, items=20_000)
    _sequences_against_prefixes("histories of 50 events", made, 20_000, 50, arguments.repeats)
    if arguments.data:
        spans = read_spans(arguments.data / "events", "session_id", "item_id", "timestamp")
        _sequences_against_prefixes("sessions", spans.sequences(1), spans.items_until(1), 20, arguments.repeats)
    _large_table_against_small(arguments.repeats)


def _sequences_against_prefixes(name: str, sequences: Sequences, items: int, length: int, repeats: int) -> None:
    whole = Windows.of(sequences, length)
    sides = {"sequences": whole, "prefixes": one_a_prefix(whole)}
    speeds = {side: _Speed(items, length, windows) for side, windows in sides.items()}
    measured = _take_turns({side: speed.positions_a_second for side, speed in speeds.items()}, repeats)
    _report(f"{name}: positions a second, sequences over prefixes", measured["sequences"], measured["prefixes"])


def _large_table_against_small(repeats: int) -> None:
    windows = Windows.of(_histories(sequences=2_000, length=6, items=10_000), 20)
    speeds = {items: _Speed(items, 20, windows) for items in (10_000, 1_000_000)}
    measured = _take_turns({items: speed.seconds_a_step for items, speed in speeds.items()}, repeats)
    _report("seconds a step, 1,000,000 items over 10,000", measured[1_000_000], measured[10_000])


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
        self._step = tf.function(self._learner.train_step, reduce_retracing=True)
        for _ in range(2):  # traced, and every length met
            self._seconds()

    def positions_a_second(self) -> float:
        return self._positions / self._seconds()

    def seconds_a_step(self) -> float:
        return self._seconds() / len(self._batches)

    def _seconds(self) -> float:
        started = time.perf_counter()
        for batch in self._batches:
            loss = self._step({NEW: batch})
        float(loss["loss"])
        return time.perf_counter() - started


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


def _report(what: str, ours: list[float], other: list[float]) -> None:
    ratios = [a / b for a, b in zip(ours, other, strict=True)]
    print(
        f"{what}: {statistics.median(ours):.4g} / {statistics.median(other):.4g} = "
        f"{statistics.median(ours) / statistics.median(other):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        flush=True,
    )


if __name__ == "__main__":
    main()
