"""Features of key and context on their way from events to rows of their words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.span_example_gen.event_features import BETWEEN
from trainer.features.declaration import OF_NUMBERS, OF_WORDS, Feature
from trainer.features.feature_state import FeatureState, word_rows
from trainer.features.item_features import slots_of
from trainer.keras2 import tf

_MISSING = -np.inf  # of a number, where an Example has none: no value is that
_SEEN = pa.schema([("value", pa.float64()), ("count", pa.int64())])


def fields(features: Sequence[Feature]) -> list[pa.Field]:
    """The columns beside those of events: null where it is missing, NaN where a number can't be read."""
    return [pa.field(of.vocabulary, pa.float32() if of.kind in OF_NUMBERS else pa.binary()) for of in features]


def parsing(features: Sequence[Feature]) -> dict[str, Any]:
    """How they are parsed from event Examples."""
    text, number = tf.io.FixedLenFeature([], tf.string, ""), tf.io.FixedLenFeature([], tf.float32, _MISSING)
    return {of.vocabulary: number if of.kind in OF_NUMBERS else text for of in features}


def as_arrow(values: np.ndarray, field: pa.Field) -> pa.Array:
    """What was parsed, as a column."""
    if pa.types.is_floating(field.type):
        return pa.array(values, field.type, mask=values == _MISSING)
    return pa.array(values, field.type, mask=values == b"")


def words_of(column: pa.Array, feature: Feature) -> pa.Array:
    """A column's words: binary, or of `categories` lists of them."""
    if feature.kind != "categories":
        return column
    return pc.split_pattern(column.cast(pa.string()), BETWEEN).cast(pa.list_(pa.binary()))


def rows_of(column: pa.Array, feature: Feature, state: FeatureState) -> np.ndarray:
    """What the model is told, see `trainer.features.query_values.Values`."""
    if feature.kind in OF_WORDS:
        words = words_of(column, feature)
        return word_rows(words, state.words[feature.name], slots_of(feature)).astype(np.int64)
    numbers = column.to_numpy(zero_copy_only=False).astype(np.float32)
    unreadable = column.is_valid().to_numpy(zero_copy_only=False) & np.isnan(numbers)
    return np.where(unreadable, np.float32(np.inf), numbers)


def seen_numbers(column: pa.Array) -> pa.Table:
    """The different numbers of a column, each with how often it is there."""
    values = column.drop_null().to_numpy(zero_copy_only=False).astype(np.float64)
    unique, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    return pa.Table.from_arrays([pa.array(unique), pa.array(counts.astype(np.int64))], schema=_SEEN)


def grown(
    state: FeatureState, counted: Iterable[dict[str, pa.Table]], features: Sequence[Feature], span: int
) -> FeatureState:
    """The state after the events that a span is trained on.

    A word gets its row once `min_count` of all events had it.

    Args:
      state: yesterday's.
      counted: by vocabulary the counts of all files, as `vocabulary_growth` makes them; words in their order.
      features: of key and context.
      span: the span's number.
    """
    counted = list(counted)
    words, numbers = dict(state.words), dict(state.numbers)
    for feature in features:
        tables = [part[feature.vocabulary] for part in counted if feature.vocabulary in part]
        if feature.kind in OF_WORDS:
            if tables:
                table = pa.concat_tables(tables)
                words[feature.name] = words[feature.name].grow(
                    table["id"], span, feature.min_count, np.inf, table["count"].to_numpy()
                )
        elif tables:
            seen = pa.concat_tables(tables)
            numbers[feature.name] = numbers[feature.name].add(seen["value"].to_numpy(), seen["count"].to_numpy())
    return FeatureState(words, numbers)
