"""The section `policy` of the settings: what is done with a span, decided before training.

As it stands, every span is fine-tuned on. Limits are off where they are null.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Literal

import pydantic

from pipeline.config.section import Section

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEKDAYS: tuple[Weekday, ...] = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
Measure = Literal["jensen_shannon", "infinity_norm"]


class _Limits(Section):
    """From `fine_tune` on a span may not be left for later, from `retrain` on a full retrain is due."""

    fine_tune: float | None = None
    retrain: float | None = None

    @property
    def set(self) -> bool:
        """Whether there is one."""
        return self.fine_tune is not None or self.retrain is not None


class NextSpan(_Limits):
    """The champion on the new span, in standard deviations below its mean over the last `spans` spans.

    With fewer than `at_least` of them the limits are not looked at. `metric`: null is recall, or the first metric of a
    model without it.
    """

    metric: str | None = None
    spans: int = pydantic.Field(default=14, ge=2)
    at_least: int = pydantic.Field(default=5, ge=2)

    @pydantic.model_validator(mode="after")
    def _reachable(self) -> NextSpan:
        if self.at_least > self.spans:
            raise ValueError(f"`at_least` must not be above `spans`, {self.spans}. Received: {self.at_least}.")
        return self


class ColumnDrift(_Limits):
    """How far a column is from the nearest of the spans before, 0 to 1.

    `measure`: the `jensen_shannon` divergence, or the `infinity_norm`, the largest difference of a value's frequency
    (text alone).
    """

    measure: Measure = "jensen_shannon"
    fine_tune: float | None = pydantic.Field(default=None, ge=0, le=1)
    retrain: float | None = pydantic.Field(default=None, ge=0, le=1)


class Drift(Section):
    """Columns by name, `item` and `key` for the ids, against the last `spans` spans."""

    spans: int = pydantic.Field(default=7, ge=1)
    columns: dict[str, ColumnDrift] = pydantic.Field(default_factory=dict)


class Retention(_Limits):
    """How far the metric on older held-out events has fallen since they were new.

    `spans` spans are tested, the youngest of them `age` spans before this one.
    """

    spans: int = pydantic.Field(default=3, ge=1)
    age: int = pydantic.Field(default=7, ge=1)


class Share(_Limits):
    """The share of a span's ids that no earlier span had, 0 to 1."""

    fine_tune: float | None = pydantic.Field(default=None, ge=0, le=1)
    retrain: float | None = pydantic.Field(default=None, ge=0, le=1)


class Calendar(Section):
    """A full retrain every `every` days (of number-patterned spans: spans), or on every such `weekday`.

    `start`: the first one, a date like 2024-05-05 or a span number; null: counted from 1970, or from 0.
    """

    every: int | None = pydantic.Field(default=None, ge=1)
    weekday: Weekday | None = None
    start: str | int | None = None

    @pydantic.field_validator("start", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        # YAML reads an unquoted 2024-05-05 as a date.
        return value.isoformat() if isinstance(value, datetime.date) else value

    @pydantic.model_validator(mode="after")
    def _known(self) -> Calendar:
        if self.every is None and (self.weekday is not None or self.start is not None):
            raise ValueError("`every` must be given with `weekday` or `start`. Received: none. Write `every: 1`.")
        if isinstance(self.start, str):
            try:
                day = datetime.date.fromisoformat(self.start)
            except ValueError:
                raise ValueError(
                    f"`start` must be a date like 2024-05-05, or a span number. Received: {self.start!r}."
                ) from None
            if self.weekday is not None and WEEKDAYS[day.weekday()] != self.weekday:
                raise ValueError(
                    f"`start` must be a {self.weekday}. Received: {self.start}, a {WEEKDAYS[day.weekday()]}."
                )
        return self


class Maintenance(Section):
    """When a span is skipped, fine-tuned on, or answered with a full retrain on the last `update.retrain_spans` spans.

    `rest_spans`: how many spans may be left for later while no limit is reached. `cooldown`: days (spans) after a full
    retrain was tried in which no limit and no `max_age` calls for another. `max_age`: days (spans) since the last full
    retrain after which one is due.
    """

    rest_spans: int = pydantic.Field(default=0, ge=0)
    cooldown: int = pydantic.Field(default=7, ge=0)
    max_age: int | None = pydantic.Field(default=None, ge=1)
    next_span: NextSpan = NextSpan()
    drift: Drift = Drift()
    retention: Retention = Retention()
    new_items: Share = Share()
    new_keys: Share = Share()
    schedule: Calendar = Calendar()

    def check_fits(self, dated: bool, columns: Sequence[str], max_owed: int) -> None:
        """Refuses what does not fit the other settings.

        Args:
          dated: whether a span is a day.
          columns: what an event has.
          max_owed: `update.max_owed_spans`.

        Raises:
          ValueError: it does not fit.
        """
        if unknown := sorted(set(self.drift.columns) - set(columns)):
            raise ValueError(
                f"`policy.drift.columns` must be among {', '.join(columns)}. Received: {', '.join(unknown)}."
            )
        if self.rest_spans > max_owed:
            raise ValueError(
                f"`policy.rest_spans` must not be above `update.max_owed_spans`, {max_owed}, from where on a full "
                f"retrain is due. Received: {self.rest_spans}."
            )
        schedule = self.schedule
        if not dated and (schedule.weekday is not None or isinstance(schedule.start, str)):
            raise ValueError(
                "`policy.schedule` must not name a weekday or a date where `data.pattern` numbers the spans. Received: "
                f"{schedule.weekday or schedule.start!r}. Write `every: 28` for every 28th span."
            )
        if dated and isinstance(schedule.start, int):
            raise ValueError(f"`policy.schedule.start` must be a date like 2024-05-05. Received: {schedule.start}.")
