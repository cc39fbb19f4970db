"""How far back a day looks. No model is asked: what `warmspan gc` keeps is known without TensorFlow."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.config import Config
from pipeline.config.policy import Maintenance

PAST_SPANS = 7  # that retention is tested on, and that small nights are pooled from


class Window(NamedTuple):
    """Which earlier spans are looked at: `spans` of them, after the last `passed_over`."""

    spans: int
    passed_over: int = 0


def windows(settings: Maintenance) -> dict[str, Window]:
    """What of earlier spans the policy looks at, by the names of `Champion`'s channels."""
    asked = {}
    if settings.next_span.set:
        asked["evaluations"] = Window(settings.next_span.spans)
    if any(column.set for column in settings.drift.columns.values()):
        asked["past_statistics"] = Window(settings.drift.spans)
    if settings.retention.set:
        older = settings.retention
        asked["older_held_out"] = Window(older.spans, older.age - 1)
        # A span without a verdict shifts the others: those that are needed are found by their span.
        asked["verdicts"] = Window(older.spans + older.age - 1)
    every, weekday = settings.schedule.every, settings.schedule.weekday
    scheduled = 0 if every is None else every if weekday is None else 7 * every
    if tried := max(settings.cooldown if _can_retrain(settings) else 0, scheduled):
        asked["decisions"] = Window(tried)
    return asked


def most_spans(config: Config) -> int:
    """How many earlier spans a candidate or its teacher may need.

    All that may be owed, and one more to see that it is too many.
    """
    update = config.update
    of_teacher = 0 if update.teacher is None else update.teacher.every
    return max(update.max_owed_spans + 1, update.retrain_spans - 1, of_teacher)


def _can_retrain(settings: Maintenance) -> bool:
    limits = (
        settings.next_span,
        settings.retention,
        settings.new_items,
        settings.new_keys,
        *settings.drift.columns.values(),
    )
    return settings.max_age is not None or any(limit.retrain is not None for limit in limits)
