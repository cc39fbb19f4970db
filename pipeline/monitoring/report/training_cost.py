"""What each day's training cost, and what training on all history would have cost instead."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from pipeline.ledger.runs import Run


@dataclasses.dataclass(frozen=True)
class Cost:
    """A day's training beside a full retrain on that day.

    Attributes:
      name: the span's.
      examples, seconds: what was trained on, each epoch's and the replayed ones counted, and how long it took.
      full_examples, full_seconds: the same of a full retrain, as estimated by `estimate`.
    """

    name: str
    examples: int
    seconds: float
    full_examples: int
    full_seconds: float

    @property
    def share(self) -> float:
        """Examples of the day by those of a full retrain."""
        return self.examples / self.full_examples if self.full_examples else 1.0


@dataclasses.dataclass(frozen=True)
class Training:
    """What a model's artifact says of its training; `epochs` are those of all its spans together."""

    examples: int
    seconds: float
    epochs: int


def estimate(runs: Sequence[Run], trainings: Mapping[int, Training], new_events: Mapping[int, int]) -> tuple[Cost, ...]:
    """The costs of the days on which something was trained, oldest first.

    A full retrain goes over the events of all spans up to the day's, for as many epochs as the day's training had a
    span, and replays nothing. Its seconds are the day's, which hold what any training needs to start, and the examples
    that it has more at the fastest of the days' rates.

    Args:
      runs: oldest first.
      trainings: by span.
      new_events: by span, of all spans that were ever run: how many events it brought to train on.
    """
    trained = [
        (run, training)
        for run in runs
        if (training := trainings.get(run.span)) and training.examples and run.trained_on
    ]
    fastest = min((training.seconds / training.examples for _, training in trained), default=0.0)
    costs = []
    for run, training in trained:
        epochs = training.epochs / len(run.trained_on)
        once = sum(new_events.get(span, 0) for span in run.trained_on) * epochs
        # A model that learns from whole histories has fewer examples than events; more than events are replayed ones.
        unit = min(training.examples / once, 1.0) if once else 1.0
        every = sum(count for span, count in new_events.items() if span <= run.span)
        full = max(round(every * epochs * unit), training.examples)
        seconds = training.seconds + (full - training.examples) * fastest
        costs.append(Cost(run.name, training.examples, training.seconds, full, seconds))
    return tuple(costs)
