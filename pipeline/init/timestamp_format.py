"""In which unit or format a column of times is written: the one in which ingestion reads nearly all of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import numpy as np
import pyarrow as pa

from components.span_example_gen.settings import UNITS_PER_SECOND
from components.span_example_gen.times import to_milliseconds
from pipeline.init.sample import MOST, Column, number_in

# Outside of these years a number or a text that could be read as a time means something else.
_YEARS = [round(datetime(year, 1, 1, tzinfo=timezone.utc).timestamp() * 1000) for year in (1980, 2100)]
DAYS = ("%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y%m%d", "%d %b %Y", "%b %d, %Y")
CLOCKS = ("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p", "T%H:%M:%S")
FORMATS = (
    *(day + clock for day in DAYS for clock in CLOCKS),
    "%Y%m%d%H%M%S",
    "%a %b %d %H:%M:%S %Y",
    "%a, %d %b %Y %H:%M:%S %z",
    "%d/%b/%Y:%H:%M:%S %z",
)
# What stands where a time is not known says nothing of how the known ones are written.
NO_TIME = re.compile(r"[+-]?0+(\.0*)?|-1(\.0*)?|(9999|0000|0001|1900|1970)-\d\d-\d\d.*")
# As many values rule out nearly every format.
_FIRST_LOOK = 20
_DAY = 86_400_000


@dataclass(frozen=True)
class Reading:
    """One way to read a column: numbers in `unit`, or text after `format` (without: ISO 8601, or Arrow's own times).

    Attributes:
      millis: int64 [rows], unix milliseconds.
      plausible: bool [rows], whether that is the time of an event.
      share: of the values that could decide, those that are.
    """

    unit: str
    format: str | None
    words: str
    millis: np.ndarray
    plausible: np.ndarray
    share: float

    @property
    def clear(self) -> bool:
        """Whether these are nearly all."""
        return self.share >= MOST

    @property
    def first(self) -> datetime:
        """The earliest time of an event."""
        return moment(self.millis[self.plausible].min())

    @property
    def last(self) -> datetime:
        """The latest."""
        return moment(self.millis[self.plausible].max())

    @property
    def days_alone(self) -> bool:
        """Whether nearly all times are dates without a clock."""
        return bool(np.mean(self.millis[self.plausible] % _DAY == 0) > 0.99)


def moment(millis: int) -> datetime:
    """Unix milliseconds as a time in UTC."""
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=int(millis))


def ways_to_read(column: Column, format: str | None = None, least: float = 0.5) -> list[Reading]:
    """The ways in which a share of at least `least` of the column's values are times of plausible years.

    Args:
      column: of the sample.
      format: strptime's pattern, where it is given: then no other way is tried.
      least: above 0.

    Returns:
      The best ones first, the usual ones first among equals; empty if there is none.
    """
    if column.kind == "other" or not column.values:
        return []
    if format is not None:
        ways: list[tuple[str, str | None]] = [("s", format)]
    elif column.kind == "time":
        ways = [("s", None)]
    else:
        few = column.values[:: -(-len(column.values) // _FIRST_LOOK)]
        numbers = any(number_in(value) is not None for value in few)
        ways = [(unit, None) for unit in (UNITS_PER_SECOND if numbers else ("s",))]
        few_cells = (pa.array(few),)
        tried = [_reading(few_cells, few, unit, None) for unit, _ in ways]
        if column.kind != "float" and not any(reading and reading.share >= least / 2 for reading in tried):
            ways = [
                ("s", form)
                for form in FORMATS
                if (rough := _reading(few_cells, few, "s", form)) and rough.share >= least / 2
            ]
    readings = [_reading(column.cells, column.texts, unit, form) for unit, form in ways]
    good = [reading for reading in readings if reading is not None and reading.share >= least]
    return sorted(good, key=lambda reading: -reading.share)


def _reading(cells: Sequence[pa.Array], texts: Sequence[str | None], unit: str, format: str | None) -> Reading | None:
    parts = [to_milliseconds(array, unit, format) for array in cells]
    millis = np.concatenate([part for part, _ in parts])
    plausible = np.concatenate([valid for _, valid in parts]) & (millis >= _YEARS[0]) & (millis < _YEARS[1])
    decisive = np.array([text is not None and NO_TIME.fullmatch(text.strip()) is None for text in texts], dtype=bool)
    plausible &= np.array([text is not None for text in texts], dtype=bool)
    if not plausible.any() or not decisive.any():
        return None
    share = float(np.mean(plausible[decisive]))
    numeric = format is None and any(number_in(text) is not None for text in texts if text is not None)
    words = f"text like {format}" if format else f"unix time in {unit}" if numeric else "ISO 8601 dates and times"
    return Reading(unit, format, words, millis, plausible, share)
