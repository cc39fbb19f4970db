"""Whether features are what they were yesterday: a column may come empty, in another unit or in another encoding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.catalogue_gen.state import as_array, as_numpy, same_values
from trainer.features.declaration import OF_NUMBERS, OF_VECTORS, WITHDRAWN, Feature

_FEWEST = 20  # items of both days, from which on they say something
_TIMES = 8.0  # what prices do not do overnight; hundredths do


def implausible(
    before: pa.Table, after: pa.Table, features: Sequence[Feature], most: float, whole: bool
) -> Iterator[str]:
    """What speaks against the features of `after`, a sentence each.

    Args:
      before: yesterday's state (see `state_schema`).
      after: today's, in which yesterday's items keep their places.
      features: those declared.
      most: the share of the items sold on both days that may lose a feature's value, or get another word or text.
      whole: whether all items were delivered. Of mere changes all are other than before: what is asked is then whether
        those that changed have lost their value.
    """
    after = after.slice(0, len(before))
    sold = ~as_numpy(before[WITHDRAWN]) & ~as_numpy(after[WITHDRAWN])
    for feature in features:
        old, new = (as_array(table[feature.name].filter(pa.array(sold))) for table in (before, after))
        there = as_numpy(old.is_valid())
        other = ~same_values(old, new)
        asked = there if whole else there & other
        if asked.sum() < _FEWEST:
            continue
        lost = int((asked & as_numpy(pc.is_null(new, nan_is_null=True))).sum())
        if lost > most * asked.sum():
            yield f"of {asked.sum():,} items with `{feature.name}` {lost:,} have lost it"
            continue
        both = asked & other & as_numpy(new.is_valid())
        was, is_now = old.filter(pa.array(both)), new.filter(pa.array(both))
        if feature.kind in OF_NUMBERS:
            yield from _of_numbers(feature, was.to_numpy(zero_copy_only=False), is_now.to_numpy(zero_copy_only=False))
        elif feature.kind not in OF_VECTORS or feature.kind == "text":
            yield from _of_words(feature, old.filter(pa.array(there)), was, is_now)
            if whole and both.sum() > most * asked.sum():
                yield f"of {asked.sum():,} items with `{feature.name}` {both.sum():,} have another"


def _of_numbers(feature: Feature, was: np.ndarray, is_now: np.ndarray) -> Iterator[str]:
    """Another unit: what has changed has changed by about one factor."""
    readable = (was > 0) & (is_now > 0)
    if readable.sum() < _FEWEST:
        return
    times = float(np.median(is_now[readable] / was[readable]))
    if not 1 / _TIMES < times < _TIMES:
        yield f"`{feature.name}` of {readable.sum():,} items is {times:.4g} times what it was, at the median"


def _of_words(feature: Feature, every: pa.Array, was: pa.Array, is_now: pa.Array) -> Iterator[str]:
    """Another encoding: letters beyond ASCII have become what their bytes are in it."""
    at_risk = sum(not text.isascii() for text in _texts(every))
    garbled = sum(new in _garbled(old) for old, new in zip(_texts(was), _texts(is_now), strict=True))
    if garbled >= 3 and 2 * garbled > at_risk:
        yield f"`{feature.name}` of {garbled:,} items is what it was, in another encoding"


def _garbled(text: str) -> set[str]:
    if text.isascii():
        return set()
    raw = text.encode()
    marks = {"".join(letter if letter.isascii() else mark for letter in text) for mark in "?\ufffd"}
    return {raw.decode("latin-1"), raw.decode("cp1252", "replace"), raw.decode("ascii", "replace"), *marks}


def _texts(values: pa.Array) -> list[str]:
    joined = pc.binary_join(values, "\x1f") if pa.types.is_list(values.type) else values
    return joined.to_pylist()
