"""What a person is told when a span is refused."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from components.span_example_gen.checks import (
    BAD_CONTEXT,
    BAD_ITEM,
    BAD_KEY,
    BAD_WEIGHT,
    MALFORMED,
    NO_COLUMN,
    NO_ITEM,
    NO_KEY,
    NO_TIME,
    NO_VALUE,
)
from components.span_example_gen.settings import UNITS_PER_SECOND, Settings
from components.span_example_gen.span_window import EARLY, LATE, OUTSIDE_SPAN
from components.span_example_gen.times import to_milliseconds
from components.span_example_gen.write_plan import IngestSummary

EXAMPLES_SHOWN = 3
_OF_TIME = (NO_TIME, OUTSIDE_SPAN, LATE, EARLY)
# Where the span does not say which times are likely: the years in which events are collected.
_LIKELY = (315_532_800_000, 4_102_444_800_000)

_ID = (
    "Look whether `data.columns.{}` names the right column. An id is text or a whole number; "
    "text with a fraction, such as 1.50, is one with `data.decimal_ids: as_written`."
)
_WINDOW = (
    "Look whether the files lie in the right folder. Where the pattern's days are not the events' (UTC) days, or a "
    "span is longer, set `data.span_hours` (null: any time is fine); `data.late: accept` takes such events in."
)
_ADVICE = {
    MALFORMED: "Look whether the file was cut, or has quotes and commas that are not quoted.",
    NO_KEY: "Look whether `data.columns.key` names the right column; words like NULL stand for no id.",
    NO_ITEM: "Look whether `data.columns.item` names the right column; words like NULL stand for no id.",
    NO_TIME: "Set `data.timestamp_unit` for numbers or `data.timestamp_format` for text.",
    BAD_KEY: _ID.format("key"),
    BAD_ITEM: _ID.format("item"),
    BAD_CONTEXT: "Write one value a row, or take the column out of `data.columns.context`.",
    NO_COLUMN: "Deliver the file with this column, under the name that `data.columns` or `data.reject` gives.",
    NO_VALUE: "A feature of `features.key` or `features.context` says `missing: reject`; `row` learns what is missing.",
    LATE: f"These are from before the span's own time. {_WINDOW}",
    EARLY: f"These are from after the span's own time. {_WINDOW}",
    OUTSIDE_SPAN: "Look whether the files lie in the right folder, and whether the times are read in the right unit.",
    BAD_WEIGHT: "Look whether `data.columns.weight` names the right column, and at `data.weight_above`.",
}


def explain(verdict: IngestSummary, settings: Settings, span: int, rejects_file: str) -> str:
    """Counts by reason, the first rows of each, and what to do."""
    label, rejects = settings.label(span), verdict.counts["rejects"]
    limit = settings.max_reject_fraction
    if rejects > limit * verdict.read:
        lines = [
            f"Span {label} was refused: at most {limit:.2%} of its rows may be rejected (`data.max_reject_fraction`). "
            f"Received: {rejects:,} of {verdict.read:,} rows ({rejects / verdict.read:.2%})."
        ]
    else:
        lines = [f"Span {label} must hold at least one usable event. Received: {verdict.read:,} rows, all rejected."]
    for reason, count in sorted(verdict.reasons.items(), key=lambda entry: (-entry[1], entry[0])):
        lines.append(f"  {reason}: {count:,}")
        for file, row, value in verdict.examples[reason][:EXAMPLES_SHOWN]:
            lines.append(f"    {file}, line {row}: {value[:80]!r}")
        advice = _unit_advice(verdict, settings, span) if reason in _OF_TIME else None
        if advice or reason in _ADVICE:
            lines.append(f"    {advice or _ADVICE[reason]}")
    lines.append(f"Nothing was written for later steps. All rejected rows: {rejects_file}")
    return "\n".join(lines)


def _unit_advice(verdict: IngestSummary, settings: Settings, span: int) -> str | None:
    if settings.timestamp_format:
        return None
    values = [value for reason in _OF_TIME for _, _, value in verdict.examples.get(reason, [])]
    window = settings.window(span)
    start, end = (window.start, window.end) if window else _LIKELY
    for unit in UNITS_PER_SECOND:
        if unit == settings.timestamp_unit:
            continue
        # Times that carry their own unit read the same in every unit: only numbers can give a hint.
        numbers = [value for value in values if value.strip().replace(".", "", 1).isdigit()]
        millis, valid = to_milliseconds(pa.array(numbers, pa.string()), unit, None)
        fits = valid & (millis >= start) & (millis < end)
        if len(numbers) and np.mean(fits) > 0.5:
            return f"These times fit the span when read in {unit}: set `data.timestamp_unit: {unit}`."
    return None
