"""Keys and items as strings, by one rule for all formats: whatever tool wrote an id, it is the same id."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.span_example_gen.casts import cast_or_null, text_of
from components.span_example_gen.readers.raw_batch import RawBatch

# What tools write for a value that is not there: pandas, Spark, SQL dumps, JSON by hand.
NOTHING = ("", "null", "none", "nan", "<na>", "\\n")
_LONGEST_WORD = 8
WHOLE = "whole"
_WHOLE_NUMBER = r"^([+-]?\d+)\.0*$"
# Also with the exponent that spreadsheets make of long ids.
_FRACTION = r"^[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?\d+[eE]\+\d+$"


@dataclasses.dataclass(frozen=True)
class Ids:
    """The ids in a column.

    Attributes:
      values: string [n].
      missing: bool [n], null, blank, or a word that stands for nothing.
      unfit: bool [n], what can be no id: a number with a fraction, which has no one way to be written, a truth value, a
        time, a list, an object, bytes that are not UTF-8.
    """

    values: pa.Array
    missing: np.ndarray
    unfit: np.ndarray


def read_id(text: str, decimal_ids: str) -> str:
    """An id that a person gives, as it is kept of a user's files (see `read_ids`)."""
    return re.sub(_WHOLE_NUMBER, r"\1", text) if decimal_ids == WHOLE else text


def read_ids(raw: RawBatch, name: str, decimal_ids: str) -> Ids:
    """Reads the ids in the column `name`.

    Args:
      raw: rows.
      name: the column.
      decimal_ids: `whole` takes 17850.0, which is how tools write 17850 beside a missing value, for 17850, and a number
        with any other fraction for no id; `as_written` takes text as it stands.
    """
    column = raw.columns[name]
    unfit = raw.not_scalar(name)
    if pa.types.is_floating(column.type):
        return _of_floats(column, unfit)
    text = text_of(column)
    if pa.types.is_integer(column.type):
        return Ids(text, _mask(pc.is_null(text)), unfit)
    if pa.types.is_boolean(column.type) or pa.types.is_temporal(column.type):
        return Ids(text, _mask(pc.is_null(text)), unfit | _mask(pc.is_valid(text)))
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        unfit |= _mask(pc.and_(pc.is_null(cast_or_null(column, pa.string())), pc.is_valid(column)))
    missing = stands_for_nothing(text)
    if decimal_ids == WHOLE and pc.any(pc.match_substring_regex(text, r"[.+]")).as_py():
        text = pc.replace_substring_regex(text, pattern=_WHOLE_NUMBER, replacement=r"\1")
        unfit |= _mask(pc.match_substring_regex(text, _FRACTION)) & ~missing
    return Ids(text, missing, unfit & ~missing)


def _of_floats(column: pa.Array, unfit: np.ndarray) -> Ids:
    numbers = column.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    missing = np.isnan(numbers)  # what pandas writes for a missing value in a column of numbers
    # Beyond these not every whole number is a float, and what stands there may have been another.
    exact = 2**24 if pa.types.is_float32(column.type) else 2**53
    with np.errstate(invalid="ignore"):
        unfit = (unfit | (numbers != np.floor(numbers)) | (np.abs(numbers) > exact)) & ~missing
    whole = pa.array(np.where(missing | unfit, 0, numbers).astype(np.int64)).cast(pa.string())
    return Ids(pc.if_else(pa.array(unfit), text_of(column), whole), missing, unfit)


def stands_for_nothing(text: pa.Array) -> np.ndarray:
    """Which texts are missing, bool [n]: null, blank, or a word that stands for nothing."""
    nothing = _mask(pc.utf8_is_space(text), missing=True).copy()
    short = np.flatnonzero(_mask(pc.less_equal(pc.binary_length(text), _LONGEST_WORD)))
    words = pc.utf8_lower(pc.utf8_trim_whitespace(text.take(pa.array(short))))
    nothing[short] |= _mask(pc.is_in(words, value_set=pa.array(NOTHING)))
    return nothing


def _mask(values: pa.Array, missing: bool = False) -> np.ndarray:
    return pc.fill_null(values, missing).to_numpy(zero_copy_only=False)
