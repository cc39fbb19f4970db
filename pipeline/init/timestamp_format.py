"""In which unit or format a column of times is written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
# Outside of these years a number or a text that could be read as a time means something else.
FIRST_YEAR, LAST_YEAR = 1980, 2100
DAYS = ("%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y%m%d", "%d %b %Y", "%b %d, %Y")
CLOCKS = ("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p", "T%H:%M:%S")
FORMATS = (
    *(day + clock for day in DAYS for clock in CLOCKS),
    "%Y%m%d%H%M%S",
    "%a %b %d %H:%M:%S %Y",
    "%a, %d %b %Y %H:%M:%S %z",
    "%d/%b/%Y:%H:%M:%S %z",
)

_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d(?::\d\d)?)(?:[.,]\d{1,9})?)?(?: ?(?:Z|z|([+-]\d\d)(?::?(\d\d))?))?"
)


@dataclass(frozen=True)
class Reading:
    """One way to read a column: numbers in `unit`, or text after `format` (neither: ISO 8601, or Arrow's own times)."""

    unit: str | None
    format: str | None
    first: datetime
    last: datetime

    @property
    def words(self) -> str:
        """What the values are, for people."""
        if self.unit:
            return f"unix time in {self.unit}"
        return f"text like {self.format}" if self.format else "ISO 8601 dates and times"


def ways_to_read(values: Sequence[str], kind: str) -> list[Reading]:
    """Every way in which all of `values` are times of plausible years, the usual ones first; empty if there is none."""
    if kind in ("int", "float"):
        numbers = [float(value) for value in values]
        readings = [
            _reading([number / per_second for number in numbers], unit=unit) for unit, per_second in UNITS.items()
        ]
        if kind == "float" or any(readings):
            return [reading for reading in readings if reading]
    elif iso := _reading([_iso(value) for value in values]):
        return [iso]
    return [reading for format in FORMATS if (reading := _by_format(values, format))]


def _by_format(values: Sequence[str], format: str) -> Reading | None:
    # The first value rules out nearly every format: the others are only looked at when it fits.
    if _strptime(values[0], format) is None:
        return None
    return _reading([_strptime(value, format) for value in values], format=format)


def _reading(seconds: Sequence[float | None], unit: str | None = None, format: str | None = None) -> Reading | None:
    present = [second for second in seconds if second is not None]
    if len(present) < len(seconds):
        return None
    try:
        first, last = (datetime.fromtimestamp(bound(present), timezone.utc) for bound in (min, max))
    except (OverflowError, ValueError, OSError):
        return None
    return Reading(unit, format, first, last) if first.year >= FIRST_YEAR and last.year < LAST_YEAR else None


def _iso(value: str) -> float | None:
    match = _ISO.fullmatch(value.strip())
    if not match:
        return None
    day, clock, hours, minutes = match.groups()
    zone = f"{hours}:{minutes or '00'}" if hours else "+00:00"
    try:
        return datetime.fromisoformat(f"{day}T{clock or '00:00'}{zone}").timestamp()
    except ValueError:
        return None


def _strptime(value: str, format: str) -> float | None:
    try:
        moment = datetime.strptime(value.strip(), format)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
