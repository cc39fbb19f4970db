"""The many ways to write a time, read as unix milliseconds."""

from __future__ import annotations

import datetime
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.span_example_gen.casts import cast_or_null, without_plus
from components.span_example_gen.settings import UNITS_PER_SECOND

# Years 1 to 9999, what a calendar can hold: milliseconds taken for seconds end up beyond it.
FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799
_NUMBER = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?$"
_ISO = r"^\d{4}-\d\d-\d\d([ T]\d\d(:\d\d(:\d\d([.,]\d{1,9})?)?)?)?$"
# Databases write the zone as a word, and Go's after the offset, too ("+0000 UTC").
_UTC = r"( ?[+-]00:?00)? ?(?i:Z|UTC|GMT)$"
_ISO_ZONE = rf"^\d{{4}}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d([.,]\d{{1,9}})?)?( ?[+-]\d\d(:?\d\d)?$|{_UTC})"
# What C's strptime, which Arrow calls, reads as Python's does, but for days that a month does not have.
_SHARED_DIRECTIVES = frozenset("YmdHMSy")


def to_milliseconds(column: pa.Array, unit: str, format: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Reads times: numbers in `unit`, ISO 8601 text, text after the strptime pattern `format`, or Arrow's own types.

    Times without a zone are UTC; what is finer than a millisecond is cut off.

    Returns:
      int64 [n], unix milliseconds (0 where unreadable), and bool [n], whether each could be read.
    """
    kind = column.type
    if pa.types.is_timestamp(kind):
        return _in_range(*_ints(column.cast(pa.int64())), kind.unit)
    if pa.types.is_date(kind):
        return _in_range(*_ints(column.cast(pa.timestamp("s")).cast(pa.int64())), "s")
    if pa.types.is_integer(kind):
        return _in_range(*_ints(cast_or_null(column, pa.int64())), unit)
    if pa.types.is_floating(kind):
        return _from_floats(column.cast(pa.float64()), unit)
    text = pc.ascii_trim_whitespace(cast_or_null(column, pa.string()))
    return _from_format(text, format) if format else _from_text(text, unit)


def _from_text(text: pa.Array, unit: str) -> tuple[np.ndarray, np.ndarray]:
    digits = pc.fill_null(pc.ascii_is_decimal(text), False)
    if pc.all(digits).as_py():
        return _in_range(*_ints(cast_or_null(text, pa.int64())), unit)
    millis, valid = _in_range(*_ints(cast_or_null(_only(text, digits), pa.int64())), unit)
    for pattern, read in ((_NUMBER, _from_number_text), (_ISO, _from_iso), (_ISO_ZONE, _from_iso_zone)):
        mask = pc.and_(pc.invert(pa.array(valid)), pc.fill_null(pc.match_substring_regex(text, pattern), False))
        if pc.any(mask).as_py():
            more, good = read(_only(text, mask), unit)
            millis, valid = np.where(good, more, millis), valid | good
    return millis, valid


def _from_number_text(text: pa.Array, unit: str) -> tuple[np.ndarray, np.ndarray]:
    return _from_floats(cast_or_null(without_plus(text), pa.float64()), unit)


def _from_iso(text: pa.Array, unit: str) -> tuple[np.ndarray, np.ndarray]:
    return _in_range(*_ints(_iso_cast(text, pa.timestamp("us"))), "us")


def _from_iso_zone(text: pa.Array, unit: str) -> tuple[np.ndarray, np.ndarray]:
    text = pc.replace_substring_regex(text, pattern=_UTC, replacement="Z")
    text = pc.replace_substring_regex(text, pattern=r" ([+-]\d\d:?\d?\d?)$", replacement=r"\1")
    return _in_range(*_ints(_iso_cast(text, pa.timestamp("us", "UTC"))), "us")


def _iso_cast(text: pa.Array, kind: pa.DataType) -> pa.Array:
    # Arrow refuses more digits of a second than the type holds; nanoseconds would end in the year 2262.
    text = pc.replace_substring_regex(text, pattern=r"[.,](\d{1,6})\d*", replacement=r".\1")
    return cast_or_null(text, kind).cast(pa.int64())


def _from_format(text: pa.Array, format: str) -> tuple[np.ndarray, np.ndarray]:
    directives = set(re.findall(r"%(.)", format))
    if directives <= _SHARED_DIRECTIVES:
        parsed = pc.strptime(text, format=format, unit="s", error_is_null=True)
        seconds = pc.if_else(_surely_read(parsed, text, format), parsed.cast(pa.int64()), None)
        millis, valid = _in_range(*_ints(seconds), "s")
        if valid.all():
            return millis, valid
        more, good = _from_python(_only(text, pa.array(~valid)), format)
        return np.where(valid, millis, more), valid | good
    return _from_python(text, format)


def _surely_read(parsed: pa.Array, text: pa.Array, format: str) -> pa.Array:
    # February 31 becomes March 3: what ends on such a day must also be written as it was read.
    late = pc.fill_null(pc.greater(pc.day(parsed), 3), False)
    if pc.all(late).as_py():
        return late
    return pc.or_(late, pc.fill_null(pc.equal(pc.strftime(parsed, format=format), text), False))


def _from_python(text: pa.Array, format: str) -> tuple[np.ndarray, np.ndarray]:
    encoded = pc.dictionary_encode(text)
    known = pa.array([_strptime(value, format) for value in encoded.dictionary.to_pylist()], pa.int64())
    return _in_range(*_ints(known.take(encoded.indices)), "us")


def _strptime(value: str, format: str) -> int | None:
    try:
        moment = datetime.datetime.strptime(value, format)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)
    return (moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // datetime.timedelta(microseconds=1)


def _from_floats(values: pa.Array, unit: str) -> tuple[np.ndarray, np.ndarray]:
    numbers = values.fill_null(np.nan).to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore", invalid="ignore"):
        # Rounded at the microsecond first: 1362096054.123 has no exact float, and .123 must not become .122.
        micros = np.rint(numbers * (1_000_000 / UNITS_PER_SECOND[unit]))
        valid = np.isfinite(micros) & (micros >= FIRST_SECOND * 1e6) & (micros <= LAST_SECOND * 1e6)
    return np.where(valid, micros, 0).astype(np.int64) // 1000, valid


def _ints(values: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    valid = values.is_valid().to_numpy(zero_copy_only=False)
    return values.fill_null(0).to_numpy(zero_copy_only=False), valid


def _in_range(values: np.ndarray, valid: np.ndarray, unit: str) -> tuple[np.ndarray, np.ndarray]:
    per_second = UNITS_PER_SECOND[unit]
    seconds = values // per_second
    valid = valid & (seconds >= FIRST_SECOND) & (seconds <= LAST_SECOND)
    values = np.where(valid, values, 0)
    return values * (1000 // per_second) if per_second <= 1000 else values // (per_second // 1000), valid


def _only(text: pa.Array, mask: pa.Array) -> pa.Array:
    return pc.if_else(mask, text, pa.scalar(None, pa.string()))
