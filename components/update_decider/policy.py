"""What a maintenance policy looks at, and from where on it acts: plain values, without any TFX."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Literal

from components.json_parameter import JsonParameter
from trainer.settings import AfterRefusal

SIGNALS_FILE = "signals.json"
Measure = Literal["jensen_shannon", "infinity_norm"]


@dataclasses.dataclass(frozen=True)
class Limit:
    """From `fine_tune` on a span may not be left for later, from `retrain` on a full retrain is due; None: never."""

    fine_tune: float | None
    retrain: float | None

    @property
    def set(self) -> bool:
        return self.fine_tune is not None or self.retrain is not None


@dataclasses.dataclass(frozen=True)
class DriftRule:
    """How far the values of `column` may be from those of the nearest of the spans before, by `measure`, 0 to 1."""

    column: str
    measure: Measure
    limit: Limit


@dataclasses.dataclass(frozen=True)
class RetrainCalendar:
    """A full retrain at `start`, in span numbers, and every `period` from there on.

    `text` says it to a reader: "every 4th Sunday".
    """

    start: int
    period: int
    text: str

    def last_due(self, span: int) -> int:
        """The last time, up to `span` itself, for which a full retrain was planned."""
        return span - (span - self.start) % self.period


@dataclasses.dataclass(frozen=True)
class UpdatePolicy(JsonParameter):
    """A maintenance policy.

    Attributes:
      metric: the metric of next-span evaluation and retention; `lower_is_better` for an error.
      rest_spans: how many earlier spans may be owed before one is learned although no limit is reached.
      cooldown: days (of number-patterned spans: spans) after a full retrain was tried in which no limit, and no
        `max_age`, calls for another.
      max_age: days since the last full retrain after which one is due; None: never.
      next_span: in standard deviations that the champion's metric is worse than its mean over the spans before; of at
        most `next_span_spans` and at least `next_span_least` of them.
      drift: see `DriftRule`; the spans before are at most `drift_spans`.
      retention: how much worse the metric on older held-out events has become since they were new.
      new_items, new_keys: the share of a span's ids that no earlier span had.
      schedule: see `RetrainCalendar`.
      unit: what a span number counts, for sentences: "day" or "span".
      after_refusal: what of the learning changes after a refusal; 1 where the settings leave nothing to change.
    """

    metric: str
    lower_is_better: bool
    rest_spans: int
    cooldown: int
    max_age: int | None
    next_span: Limit
    next_span_spans: int
    next_span_least: int
    drift: tuple[DriftRule, ...]
    drift_spans: int
    retention: Limit
    new_items: Limit
    new_keys: Limit
    schedule: RetrainCalendar | None
    unit: str
    after_refusal: AfterRefusal

    def without_limits(self) -> UpdatePolicy:
        """The policy that fine-tunes on every span, whatever is measured."""
        off = Limit(None, None)
        return dataclasses.replace(
            self, rest_spans=0, max_age=None, next_span=off, drift=(), retention=off, new_items=off, new_keys=off,
            schedule=None,
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Signals:
    """What was measured before training. What could not be is None, or empty.

    Attributes:
      next_span: the champion's metric on the span.
      past_next_span: the same of the spans before, oldest first.
      drift: by column and measure, the distance to the nearest of the spans before.
      retention: of each older span, the metric on its held-out events now and when they were new.
      new_items, new_keys: shares, 0 to 1.
      retrained: the span at which the champion, or the model that it descends from, was trained from nothing.
      tried: the last span at which training from nothing was decided on, whatever the gate said.
    """

    next_span: float | None = None
    past_next_span: tuple[float, ...] = ()
    drift: tuple[tuple[str, Measure, float], ...] = ()
    retention: tuple[tuple[float, float], ...] = ()
    new_items: float | None = None
    new_keys: float | None = None
    retrained: int | None = None
    tried: int | None = None

    def write(self, folder: str) -> None:
        (Path(folder) / SIGNALS_FILE).write_text(json.dumps(dataclasses.asdict(self), indent=1))
