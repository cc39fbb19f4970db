"""The sections `data` and `split` of the settings: where spans lie and how a row becomes an event."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from pipeline.config.section import Place, Section

DATE_TOKENS = ("{YYYY}", "{MM}", "{DD}")


class Columns(Section):
    """The user's column names for the parts of an event."""

    key: str
    item: str
    timestamp: str
    weight: str | None = None
    context: tuple[str, ...] = ()


class RejectRule(Section):
    """Rejects the rows whose `column`, read as text, matches the regular expression `matches` from its start."""

    column: str
    matches: str
    reason: str

    @pydantic.field_validator("matches")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"must be a regular expression ({error}). Received: {value!r}.") from None
        return value


class Data(Section):
    """Where the spans lie, in a folder or below an address, and how a row becomes an event.

    A span's own time is `span_hours` long; `auto`: of a dated pattern the day, of numbered ones any; null: any. Events
    outside are rejected, or accepted (`late`) at their true place in the key's order. An id that is a number with `.0`
    is the whole number (`whole`), or another id (`as_written`); null: as the root began, `whole` in a new one.
    """

    path: Place
    pattern: str = "{YYYY}-{MM}-{DD}/*"
    format: Literal["csv", "parquet", "jsonl", "tfrecord"] = "csv"
    columns: Columns
    timestamp_unit: Literal["s", "ms", "us", "ns"] = "s"
    timestamp_format: str | None = None
    span_hours: Annotated[float, pydantic.Field(gt=0)] | Literal["auto"] | None = "auto"
    late: Literal["reject", "accept"] = "reject"
    decimal_ids: Literal["whole", "as_written"] | None = None
    weight_above: float | None = None
    reject: tuple[RejectRule, ...] = ()
    max_reject_fraction: float = pydantic.Field(default=0.05, ge=0, le=1)
    items: Path | None = None
    item_title: str = "title"

    @pydantic.field_validator("pattern")
    @classmethod
    def _names_a_span(cls, value: str) -> str:
        dated = [token for token in DATE_TOKENS if token in value]
        if "{SPAN" in value and not dated:
            return value
        if len(dated) == len(DATE_TOKENS) and "{SPAN" not in value:
            return value
        raise ValueError(
            f"must name a span by {{YYYY}}, {{MM}} and {{DD}}, or by {{SPAN}} alone. Received: {value!r}. "
            "Write for example '{YYYY}-{MM}-{DD}/*.csv'."
        )

    @property
    def dated(self) -> bool:
        """Whether a span is a calendar day (True) or a plain number (False)."""
        return "{YYYY}" in self.pattern


class Split(Section):
    """The last part of a span, by time, is held out for that day's gate and trained on the next day."""

    eval_fraction: float = pydantic.Field(default=0.1, ge=0, lt=1)
