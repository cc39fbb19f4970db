"""Durations in the settings, like 36h, 7d or 2w, where a number counts spans or hours.

A plain number stays what it is. A duration is the same time whatever a span is: `7d` are 7 spans of a day and 168 of an
hour.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

HOURS = {"h": 1.0, "d": 24.0, "w": 168.0}
_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([hdw])\s*")

# What counts spans, of which a part is none.
WHOLE_SPANS = (
    "update.max_owed_spans",
    "update.retrain_spans",
    "gate.anchor_spans",
    "guard.spans",
    "policy.rest_spans",
    "policy.cooldown",
    "policy.max_age",
    "policy.next_span.spans",
    "policy.drift.spans",
    "policy.retention.spans",
    "policy.retention.age",
    "policy.schedule.every",
    "push.places_for_new.younger_than",
    "gc.keep_spans",
    "vocabulary.item_max_age",
    "vocabulary.key_max_age",
)
# What is measured in spans.
PARTS_OF_SPANS = ("vocabulary.half_life_spans", "update.stability.replay.half_life")
IN_HOURS = ("history.keys_end_after",)
# In days, of spans below a day in hours.
IN_DAYS_OR_HOURS = ("backtest.half_life",)
SETTINGS = (*WHOLE_SPANS, *PARTS_OF_SPANS, *IN_HOURS, *IN_DAYS_OR_HOURS)
# What counts spans in each of what a section names, e.g. in `encoders.minilm.tuning.every`.
OF_EACH = {"encoders": "tuning.every"}


def hours_of(text: str) -> float | None:
    """The hours of a duration; None for a text that is none."""
    match = _FORM.fullmatch(text)
    return None if match is None else float(match[1]) * HOURS[match[2]]


def without_durations(raw: Any) -> Any:
    """The settings as they were read, with numbers in the place of durations.

    Raises:
      ValueError: a duration is not of the form, or no number of spans; the message names the setting.
    """
    if not isinstance(raw, Mapping):
        return raw
    changed = copy.deepcopy(dict(raw))
    named = {outer: changed.get(outer) for outer in OF_EACH}
    each = [f"{outer}.{name}.{OF_EACH[outer]}" for outer, of in named.items() if isinstance(of, Mapping) for name in of]
    for setting in (*SETTINGS, *each):
        *sections, name = setting.split(".")
        section: Any = changed
        for outer in sections:
            section = section.get(outer) if isinstance(section, Mapping) else None
        if isinstance(section, dict) and isinstance(section.get(name), str):
            section[name] = _number(setting, section[name], raw)
    return changed


def _number(setting: str, text: str, raw: Mapping[str, Any]) -> float:
    hours = hours_of(text)
    if not hours:
        counted = "hours" if setting in IN_HOURS else "spans"
        raise ValueError(
            f"`{setting}` must be a number of {counted}, or a duration like 36h, 7d or 2w. Received: {text!r}."
        )
    if setting in IN_HOURS:
        return hours
    span = _span_hours(raw)
    if span is None:
        raise ValueError(
            f"`{setting}` can be a duration where a span has a length, `data.span_hours`. Received: {text!r}. Write "
            "how many spans it is."
        )
    if setting in IN_DAYS_OR_HOURS:
        return hours if span < HOURS["d"] else hours / HOURS["d"]
    spans = hours / span
    if setting in PARTS_OF_SPANS:
        return spans
    if abs(spans - round(spans)) > 1e-9 * spans:
        raise ValueError(
            f"`{setting}` must be whole spans, of {span:g} hours each. Received: {text!r}, which are {spans:g}."
        )
    return round(spans)


def _span_hours(raw: Mapping[str, Any]) -> float | None:
    """The length of a span by the section `data` as it was read; None where it has none, or is not yet known."""
    data = raw.get("data")
    if not isinstance(data, Mapping):
        return None
    hours = data.get("span_hours", "auto")
    if hours == "auto":
        return HOURS["d"] if "{SPAN" not in str(data.get("pattern", "")) else None
    return float(hours) if isinstance(hours, int | float) and hours > 0 else None
