"""The model that slow losses are measured against: when it gives way to a later one, and what is then still owed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from components.paired_comparison.bounds import Interval


@dataclasses.dataclass(frozen=True)
class Anchor:
    """A model that was in service, and the loss that later ones may still be charged with.

    Attributes:
      version: its version.
      span: the span that it learned last.
      carried: metric to what was lost against the anchors before it, at most 0.
    """

    version: int
    span: int
    carried: Mapping[str, float] = dataclasses.field(default_factory=dict)


def next_anchor(
    anchor: Anchor, candidate: int, span: int, against: Mapping[str, Interval], metric: str, anchor_spans: int
) -> Anchor:
    """The anchor of the night after, if the candidate is pushed.

    It is the candidate once that one's line is better by the lower bound, so that the anchor is the best model as far
    as the events can tell; and once the anchor is `anchor_spans` old, since it knows nothing of what the world has
    become since. What was lost against it is carried over: it is not forgiven because time has passed. What was won
    pays it back, but is not saved up for later losses.

    Args:
      anchor: tonight's.
      candidate: version of tonight's candidate.
      span: tonight's span.
      against: metric to the gain of the candidate's line over the anchor, as the pooled nights have it.
      metric: the one by which a model is better.
      anchor_spans: how old it may become.
    """
    better = metric in against and against[metric].lower > 0
    if better or span - anchor.span >= anchor_spans:
        return Anchor(candidate, span, carried(anchor, against))
    return anchor


def carried(anchor: Anchor, against: Mapping[str, Interval]) -> dict[str, float]:
    """Metric to what a model that takes the anchor's place is charged with, at most 0."""
    means = {name: gain.mean for name, gain in against.items() if not math.isnan(gain.mean)}
    names = sorted({*anchor.carried, *means})
    return {name: min(0.0, anchor.carried.get(name, 0.0) + means.get(name, 0.0)) for name in names}
