"""Features of key and context: columns of the user's files as typed values beside the event.

Each has a column under the name of its vocabulary, so that a context column of the same name stays what it is: words as
text, several of them with `BETWEEN` between, numbers as float32, a time in days. A missing value is null, a number that
can't be read NaN.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.catalogue_gen.values import read_values
from components.span_example_gen.readers.raw_batch import Kind, RawBatch
from components.span_example_gen.settings import Settings
from trainer.features.declaration import OF_NUMBERS, Feature
from trainer.features.feature_state import as_numbers

BETWEEN = "\x1f"  # ASCII's unit separator, which no word has


def type_of(feature: Feature) -> pa.DataType:
    """How a feature stands beside an event."""
    return pa.float32() if feature.kind in OF_NUMBERS else pa.string()


def kinds_of(features: tuple[Feature, ...]) -> dict[str, Kind]:
    """What each column becomes in an Example."""
    return {feature.vocabulary: "float" if feature.kind in OF_NUMBERS else "bytes" for feature in features}


def event_features(raw: RawBatch, settings: Settings) -> dict[str, pa.Array]:
    """The columns of all features `[n]`, by the names of their vocabularies."""
    return {feature.vocabulary: _column(raw, feature, settings.decimal_ids) for feature in settings.query_features}


def counted(events: pa.RecordBatch, features: tuple[Feature, ...]) -> dict[str, dict[str, int]]:
    """By feature, how many events are without a value, and of numbers how many have one that can't be read."""
    columns = {of.name: events.column(events.schema.get_field_index(of.vocabulary)) for of in features}
    return {
        name: {
            "missing": column.null_count,
            "unreadable": (pc.sum(pc.is_nan(column)).as_py() or 0) if pa.types.is_floating(column.type) else 0,
        }
        for name, column in columns.items()
    }


def add(total: dict[str, dict[str, int]], more: dict[str, dict[str, int]]) -> None:
    """Adds one of `counted` to another."""
    for name, counts in more.items():
        of = total.setdefault(name, {})
        for what, count in counts.items():
            of[what] = of.get(what, 0) + count


def _column(raw: RawBatch, feature: Feature, decimal_ids: str) -> pa.Array:
    values = read_values(raw, feature, decimal_ids)
    if feature.kind == "categories":
        return pc.binary_join(values, BETWEEN)
    if feature.kind not in OF_NUMBERS:
        return values
    numbers = as_numbers(values, feature)
    missing = np.isnan(numbers)
    with np.errstate(over="ignore"):
        narrow = numbers.astype(np.float32)
    return pa.array(np.where(np.isfinite(narrow), narrow, np.float32(np.nan)), mask=missing)
