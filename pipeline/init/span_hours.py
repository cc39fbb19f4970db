"""Whether events lie in the time that their span stands for, and what is counted in spans where these are hours."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from operator import attrgetter

import numpy as np

from pipeline.config import Config
from pipeline.config.effects import EFFECTS
from pipeline.init.guess import Guess
from pipeline.init.timestamp_format import Reading, moment
from pipeline.spans import Naming

HOUR = 3_600_000
# As many strangers a span may have; ingestion rejects them.
FEW = 0.05
# What is counted in spans and means days: of spans of an hour, 24 times as many.
DAYS_IN_SPANS = (
    "vocabulary.half_life_spans",
    "update.max_owed_spans",
    "update.retrain_spans",
    "update.stability.replay.half_life",
    "gate.anchor_spans",
    "policy.cooldown",
    "policy.next_span.spans",
    "policy.drift.spans",
    "policy.retention.age",
    "gc.keep_spans",
)
OF_NUMBERS = {1: "hours", 24: "days", 168: "weeks"}


def times_by_span(reading: Reading, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of each span int64 [n], the plausible times in unix milliseconds; `rows` has the span's places in the sample."""
    return {span: reading.millis[at][reading.plausible[at]] for span, at in rows.items() if reading.plausible[at].any()}


def share_on_their_day(times: Mapping[str, np.ndarray]) -> float:
    """The mean share of a dated span's events that lie within a day around it."""
    days = Naming(dated=True)
    return float(
        np.mean([1 - _outside(millis + 24 * HOUR, days.parse(span), 24, 72) for span, millis in times.items()])
    )


def guess_span_hours(times: Mapping[str, np.ndarray], dated: bool) -> tuple[Guess | None, set[str]]:
    """What `data.span_hours` must be, None for the default, and the spans that seem to hold another one's events."""
    naming = Naming(dated)
    if not dated:
        for hours, words in OF_NUMBERS.items():
            if all(_outside(millis, naming.parse(span), hours) <= FEW for span, millis in times.items()):
                return Guess("data.span_hours", hours, f"the spans' numbers are {words} since 1970"), set()
        return None, set()
    outside = {span: _outside(millis, naming.parse(span), 24) for span, millis in times.items()}
    strangers = {span for span, share in outside.items() if share > FEW}
    if not strangers:
        return None, set()
    span = max(strangers, key=lambda name: outside[name])
    first, last = moment(times[span].min()), moment(times[span].max())
    seen = f"{span} holds events from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}"
    others = set(outside) - strangers
    if others and len(strangers) <= len(others) and all(outside[name] > 1 - FEW for name in strangers):
        why = f"a day each, in UTC; but {seen}: it will be stopped, look whether it holds another day's file"
        return Guess("data.span_hours", "auto", why), strangers
    return Guess("data.span_hours", None, f"{seen} (UTC): {_reason(times, naming)}, so that any time is fine"), set()


def in_hours() -> list[Guess]:
    """Settings that are counted in spans and mean days, for spans of an hour."""
    columns = {"key": "key", "item": "item", "timestamp": "timestamp"}
    defaults = Config.model_validate({"name": "any", "data": {"path": ".", "columns": columns}})
    idle = {effect.setting for effect in EFFECTS if not effect.holds(defaults)}
    guesses = []
    for setting in DAYS_IN_SPANS:
        days = attrgetter(setting)(defaults)
        if setting in idle:  # and would be refused if it were changed before it does something
            guesses.append(Guess(setting, days, f"a span is an hour: {days * 24:g} are as many days, once it is used"))
        else:
            guesses.append(Guess(setting, days * 24, f"{days:g} days of 24 spans, since a span is an hour"))
    return guesses


def _outside(millis: np.ndarray, span: int, hours: int, length: int | None = None) -> float:
    start = span * hours * HOUR
    return float(np.mean((millis < start) | (millis >= start + (length or hours) * HOUR)))


def _reason(times: Mapping[str, np.ndarray], naming: Naming) -> str:
    starts = np.array([naming.parse(span) * 24 * HOUR for span in times])
    first, last = (np.array([bound(millis) for millis in times.values()]) for bound in (np.min, np.max))
    if ((last - first) > 26 * HOUR).any():
        return f"a span is {timedelta(milliseconds=int((last - first).max())).days + 1} days long"
    if (last < starts).all() or (first >= starts + 24 * HOUR).all():
        return "a folder's date is not that of its events, but for example that of the export"
    return "a day begins at another hour, as days in local time do"
