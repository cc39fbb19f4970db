"""In what share of a training step the learner waits for its batch, and what an epoch costs beside cached batches.

    python -m benchmarks.input_pipeline [--repeats 5] [--limit 300] [--results FILE]

For a model over positions and one over sequences, on sessions that the benchmark makes. An epoch takes its batches as
`trainer.update` does; one beside it, in turns, takes the same batches from memory. The share is what `next` takes of
the epoch; printed, and written after every turn, are medians and spreads. On a machine without an accelerator step and
pipeline share the processors, so that the ratio of the epochs has in it what making the batches costs; the share of
waiting alone is what an accelerator would see, were it as fast as this machine, and grows as it is faster.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from trainer.input_pipeline import Sequences
from trainer.keras2 import tf
from trainer.models import build_model
from trainer.models.base import TableSizes
from trainer.optimizers import make_optimizer
from trainer.stability.base import Learner
from trainer.training_batches import make_training_batches, mixed

_SIZES, _LENGTH, _BATCH = TableSizes(10_002, 5_002, 2), 20, 256
_MODELS: dict[str, dict[str, Any]] = {
    "two_tower": {"dimension": 64, "negatives": 1000},
    "sasrec": {"dimension": 64, "neighbours": 0},
}
_KEYS = 4_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds after which no further turn begins")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/input_pipeline.json"))
    arguments = parser.parse_args()
    until = time.monotonic() + arguments.limit
    results: dict[str, Any] = {}
    for name, params in _MODELS.items():
        for measured in turns(name, params, sessions(_KEYS), arguments.repeats, until):
            results[name] = measured
            arguments.results.write_text(json.dumps(results, indent=1) + "\n")
        print(name, json.dumps(results.get(name, "no time left")))


def sessions(keys: int) -> Sequences:
    """Of 2 to 20 events each, of items whose popularity falls as one over their rank."""
    random = np.random.default_rng(1)
    lengths = random.integers(2, 21, keys)
    splits = np.concatenate([[0], np.cumsum(lengths)])
    share = 1.0 / np.arange(1, _SIZES.items - _SIZES.first_row + 1)
    items = random.choice(len(share), splits[-1], p=share / share.sum()) + _SIZES.first_row
    zeros, weights = np.zeros(keys, np.int64), np.ones(splits[-1], np.float32)
    return Sequences(items, np.arange(splits[-1]), weights, splits, np.arange(keys) + 2, zeros, zeros)


def turns(
    name: str, params: dict[str, Any], sequences: Sequences, repeats: int, until: float
) -> Iterator[dict[str, Any]]:
    """What was measured after each turn, of all turns so far."""
    model = build_model(name, _SIZES, _LENGTH, params)
    model.set_popularity(np.ones(_SIZES.items))
    learner = Learner(model, [])
    learner.compile(optimizer=make_optimizer("adam", 0.001, None, 0.1, 0.0))
    batches = make_training_batches(model, sequences, _BATCH, _LENGTH, seed=1)
    made = mixed(batches, [])
    cached = made.cache()
    step = tf.function(learner.train_step).get_concrete_function(made.element_spec)
    epoch(step, cached)  # fills the cache, and is no turn
    shares, ratios, steps = [], [], []
    for _ in range(repeats):
        if time.monotonic() > until:
            return
        waited, whole = epoch(step, made)
        _, beside = epoch(step, cached)
        shares.append(waited / whole)
        ratios.append(whole / beside)
        steps.append(1000 * beside / batches.steps)
        yield {
            "steps": batches.steps,
            "waiting": _summary(shares),
            "over_cached": _summary(ratios),
            "milliseconds_a_cached_step": _summary(steps),
        }


def epoch(step: Any, data: tf.data.Dataset) -> tuple[float, float]:
    """Seconds in which the next batch was waited for, without the first, and of the whole epoch from it on."""
    waited, batches = 0.0, iter(data)
    batch = next(batches)
    begin = time.perf_counter()
    while batch is not None:
        step(batch)
        asked = time.perf_counter()
        batch = next(batches, None)
        waited += time.perf_counter() - asked
    return waited, time.perf_counter() - begin


def _summary(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values), "turns": len(values)}


if __name__ == "__main__":
    main()
