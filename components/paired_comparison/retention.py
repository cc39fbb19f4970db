"""The candidate on spans before: against the champion, and against what was known before they were learned."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from components.paired_comparison.differences import Differences, pooled
from components.paired_comparison.scoring import Events
from trainer.metric_aggregation import levels

_EVENTS = 5_000  # of all spans before; more would add seconds and hardly any certainty


class OlderSpan(NamedTuple):
    """The verdict part of a span that candidate and champion have learned.

    `levels`: metric to what the model that went into service after the span had on it, which had not learned it.
    """

    files: Sequence[str]
    levels: Mapping[str, float]


class Retention(NamedTuple):
    """`gains` over the champion; `unlearned`: metric to the gain over the spans' own `levels`; of how many `spans`."""

    gains: Differences | None = None
    unlearned: Mapping[str, float] = {}
    spans: int = 0


def retention_on(
    older: Sequence[OlderSpan],
    candidate: Any,
    champion: Any,
    oov_rows: int,
    history_length: int,
    weighted: bool,
    lower_is_better: Collection[str],
) -> Retention:
    """Scores both, `evaluate_rows` signatures, on at most 5,000 events of all `older` spans, evenly spread."""
    gains, unlearned, weights = [], [], []
    for span in older:
        events = Events(span.files, oov_rows, history_length, weighted, _EVENTS // len(older))
        if not events.weights.any():
            continue
        ours = events.score(candidate)
        gains.append(events.gains(ours, events.score(champion), lower_is_better))
        above = {name: level - span.levels[name] for name, level in levels(ours, events.weights).items()
                 if name in span.levels}  # fmt: skip
        unlearned.append({name: -gain if name in lower_is_better else gain for name, gain in above.items()})
        weights.append(float(events.weights.sum()))
    if not gains:
        return Retention()
    names = set.intersection(*map(set, unlearned))
    over_all = {name: float(np.average([gain[name] for gain in unlearned], weights=weights)) for name in sorted(names)}
    return Retention(pooled(gains), over_all, len(gains))
