"""What is left of the older spans: retention and backward transfer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.backtest.prepared_spans import PreparedSpan
from pipeline.backtest.results import Row
from trainer.input_pipeline import Positions

DEFAULT_SPANS = 16
EVENTS = 1000
_LAST = 8
_SEED = 20_170_626


def older_spans(count: int, most: int) -> list[int]:
    """Which of `count` spans are tested again at the end, by index.

    Older is what lies before the last eight spans; of fewer than ten, the first half. The first span of all is left
    out: there was no model to test on it before it was learned. Of more than `most`, as many are taken, evenly spread.
    """
    end = count - _LAST if count > _LAST + 1 else count // 2
    older = np.arange(1, end)
    if not len(older) or most < 1:
        return []
    return [int(older[at]) for at in np.linspace(0, len(older) - 1, min(most, len(older))).round().astype(int)]


def sample(span: PreparedSpan) -> tuple[Positions, Positions]:
    """At most `EVENTS` of the positions of the span's next-span test, always the same: train part, held-out part."""
    parts = span.sequences.positions(today_only=True), span.held_out
    total = sum(map(len, parts))
    if total <= EVENTS:
        return parts
    chosen = np.sort(np.random.default_rng([_SEED, span.number]).choice(total, EVENTS, replace=False))
    first = len(parts[0])
    return parts[0].take(chosen[chosen < first]), parts[1].take(chosen[chosen >= first] - first)


def retention(rows: Sequence[Row]) -> float | None:
    """The last model's mean over the older spans.

    Of each older span (see `older_spans`) the events of its next-span test are tested once more (see `sample`), with
    the histories they had then, by the model that has learned the last span.

    Args:
      rows: of one policy and seed.
    """
    kept = [row.retained for row in rows if row.retained is not None]
    return float(np.mean(kept)) if kept else None


def backward_transfer(rows: Sequence[Row]) -> float | None:
    """The mean over the older spans of R_T,i - R_i,i (BWT in Lopez-Paz and Ranzato 2017, "Gradient episodic memory").

    R_T,i is the metric of the last model on span i, R_i,i that of the model which had just learned span i. Below zero,
    what was known of a span has been forgotten (above zero where a low metric is a good one). It differs from the
    paper in that
    - a span has no test set of its own: its events are tested before it is learned, and those of its train part have
      been learned when R_i,i is taken, so that it tells what of a span was remembered, not how well it generalises;
    - the held-out part of a span is learned with the next one;
    - the mean goes over the older spans alone (see `older_spans`), on a sample (see `sample`), not over all but the
      last; a span that was never learned has no R_i,i and is left out.

    Args:
      rows: of one policy and seed.

    Returns:
      None without such a span, and where a span was learned without being tested then.
    """
    older = [row for row in rows if row.retained is not None]
    if any(row.just_learned is None and row.action != "skip" for row in older):
        return None
    changes = [
        row.retained - row.just_learned for row in older if row.retained is not None and row.just_learned is not None
    ]
    return float(np.mean(changes)) if changes else None
