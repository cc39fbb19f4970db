"""Arrow casts that answer null where a value can't be cast."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def cast_or_null(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Casts to `kind`; Arrow refuses an array as a whole, so the bad values are found by halving it."""
    try:
        return array.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        if len(array) <= 1:
            return pa.nulls(len(array), kind)
        middle = len(array) // 2
        return pa.concat_arrays([cast_or_null(array[:middle], kind), cast_or_null(array[middle:], kind)])


def text_of(array: pa.Array) -> pa.Array:
    """The values as strings, null only where missing. Numbers are written as they are, without loss."""
    if pa.types.is_string(array.type):
        return array
    text = cast_or_null(array, pa.string())
    if text.null_count == array.null_count:
        return text
    # Of a type that Arrow does not write, or bytes that are not UTF-8.
    return pa.array([_words(value) for value in array.to_pylist()], pa.string())


def _words(value: Any) -> str | None:
    if value is None:
        return None
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def shortened(value: str | None, limit: int = 1000) -> str:
    """A value as it is shown to people."""
    value = value or ""
    return value if len(value) <= limit else value[:limit] + "…"


def without_plus(text: pa.Array) -> pa.Array:
    """Text without a + before a number, which Arrow does not read; two of them, or + before -, are no sign."""
    return pc.replace_substring_regex(text, pattern=r"^\+([0-9.])", replacement=r"\1")
