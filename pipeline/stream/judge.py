"""The rolling verdict part: a copy against the copy before it, and against the champion, on the same last events."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import numpy as np

from components.next_span_evaluator.component import event_weights
from components.paired_comparison.bounds import Interval, interval, outcome
from components.paired_comparison.differences import paired
from pipeline.stream.micro_transform import compacted, joined
from trainer.input_pipeline import Positions, read_held_out
from trainer.keras2 import tf
from trainer.models.base import Recommender

_BATCH = 256
Scores = Mapping[str, np.ndarray]
Finding = Literal["better", "not worse", "worse", "too few events"]


@dataclasses.dataclass(frozen=True)
class Rules:
    """What a copy may lose: those of the gate.

    Attributes:
      max_drop: by metric.
      lower_is_better: names of metrics.
      confidence: of each bound.
      min_events: below which nothing is said.
      bless_little: whether a copy of which the bounds say nothing passes.
    """

    max_drop: Mapping[str, float]
    lower_is_better: tuple[str, ...]
    confidence: float
    min_events: int
    bless_little: bool


@dataclasses.dataclass(frozen=True)
class Window:
    """The last events that judge, oldest first.

    Attributes:
      positions: [p].
      keys: int64 [p], events of one number are of one key.
      seen: how many there have been in all.
    """

    positions: Positions
    keys: np.ndarray
    seen: int = 0

    @classmethod
    def empty(cls) -> Window:
        return cls(read_held_out([])[0], np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.keys)

    def with_events(self, positions: Positions, keys: np.ndarray, most: int) -> Window:
        """With later ones, of all the last `most`."""
        if not len(keys):
            return self
        every = joined([self.positions, positions]) if len(self) else positions
        last = np.arange(len(every))[-most:]
        return Window(compacted(every.take(last)), np.concatenate([self.keys, keys])[-most:], self.seen + len(keys))


class Scorer:
    """What a model makes of the events that judge, each of them asked for once; by the gate's length of a list."""

    def __init__(self, model: Recommender, k: int, exclude_seen: bool) -> None:
        self._model = model
        self._scores: dict[str, np.ndarray] = {}
        self._seen = 0

        @tf.function(reduce_retracing=True, autograph=False)
        def evaluate(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            columns = (batch["key"], batch["history"], batch["item"], batch["weight"])
            return model.evaluate_positions(*columns, k=k, exclude_seen=exclude_seen)

        self._evaluate = evaluate

    def follow(self, window: Window) -> Scores:
        """Metric to float64 [p], of a window that goes on from the one that was asked for last."""
        new = window.seen - self._seen
        if not self._scores or new >= len(window):
            self._scores = self._of(window.positions)
        elif new:
            last = np.arange(len(window))[-new:]
            of_new = self._of(window.positions.take(last))
            self._scores = {
                name: np.concatenate([scores, of_new[name]])[-len(window) :] for name, scores in self._scores.items()
            }
        self._seen = window.seen
        return self._scores

    def _of(self, positions: Positions) -> dict[str, np.ndarray]:
        # Filled up to whole batches: another shape would be another graph to trace.
        count = len(positions)
        filled = positions.take(np.minimum(np.arange(-(-count // _BATCH) * _BATCH), count - 1))
        by_metric: dict[str, list[np.ndarray]] = {}
        for batch in filled.dataset(_BATCH, self._model.history_length):
            for name, values in self._evaluate(batch).items():
                by_metric.setdefault(name, []).append(values.numpy().astype(np.float64))
        return {name: np.concatenate(values)[:count] for name, values in by_metric.items()}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What came of a comparison: the finding, and the bounds of each metric."""

    finding: Finding
    bounds: Mapping[str, Interval]

    def __str__(self) -> str:
        if not self.bounds:
            return self.finding
        shown = (
            f"{name} {of.mean:+.4f} ({of.lower:+.4f} to {of.upper:+.4f})" for name, of in sorted(self.bounds.items())
        )
        events = next(iter(self.bounds.values())).events
        return f"{self.finding} on {events:,} events: {', '.join(shown)}"


def compare(window: Window, ours: Scores, of_other: Scores, rules: Rules, weighted: bool) -> Comparison:
    """Judges by the paired bounds of `components.paired_comparison`: the worst of all metrics counts."""
    if len(window) < rules.min_events:
        return Comparison("too few events", {})
    weights = event_weights((window.positions,), weighted)
    differences = paired(ours, of_other, weights, window.keys, {}, rules.lower_is_better)
    bounds = {
        name: interval(differences.gains[name], weights, window.keys, rules.confidence)
        for name in rules.max_drop
        if name in differences.gains
    }
    outcomes = {outcome(of, rules.max_drop[name], rules.min_events) for name, of in bounds.items()}
    if "worse" in outcomes or ("not enough evidence" in outcomes and not rules.bless_little):
        return Comparison("worse" if "worse" in outcomes else "too few events", bounds)
    better = bool(bounds) and all(of.lower > 0 for of in bounds.values())
    return Comparison("better" if better else "not worse", bounds)
