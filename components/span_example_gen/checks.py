"""Every row is an event or a reject with one reason: the first that holds, in the order written here."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.span_example_gen.casts import cast_or_null, shortened, text_of, without_plus
from components.span_example_gen.event_features import event_features, type_of
from components.span_example_gen.ids import read_ids
from components.span_example_gen.marks import Marks, Reject
from components.span_example_gen.readers.raw_batch import NESTED, RawBatch
from components.span_example_gen.settings import Rule, Settings
from components.span_example_gen.span_window import SpanWindow
from components.span_example_gen.times import to_milliseconds
from components.suppression_list import FORGOTTEN, SuppressionList

MALFORMED, NO_KEY, NO_ITEM, NO_TIME = "malformed_row", "no_key", "no_item", "no_time"
BAD_KEY, BAD_ITEM, BAD_WEIGHT, BAD_CONTEXT = "bad_key", "bad_item", "bad_weight", "bad_context"
NO_COLUMN, NO_VALUE = "no_column", "no_value"


def check(
    raw: RawBatch, settings: Settings, window: SpanWindow | None, forgotten: SuppressionList | None = None
) -> tuple[pa.RecordBatch, list[Reject]]:
    """Splits rows into events and rejects. Of a row of somebody who is `forgotten` no value is kept.

    Returns:
      The events: `key`, `item` string, `timestamp` int64 (unix milliseconds), `weight` float32, then the context
      columns as binary (numbers as text) and the features of `event_features`; and the rejects in the order of the
      file.
    """
    n = len(raw.rows)
    marks = Marks(n)
    ids = {name: read_ids(raw, name, settings.decimal_ids) for name in (settings.key, settings.item)}
    if forgotten is not None:
        # Before all other reasons, whose values may be the id.
        marks.add(FORGOTTEN, settings.key, forgotten.among(ids[settings.key].values))
    for name in sorted(raw.absent.intersection(settings.required_columns)):
        marks.add(NO_COLUMN, name, np.ones(n, dtype=bool))
    for rule in settings.reject:
        marks.add(rule.reason, rule.column, _matches(raw.columns[rule.column], rule))
    for name, none, bad in ((settings.key, NO_KEY, BAD_KEY), (settings.item, NO_ITEM, BAD_ITEM)):
        marks.add(none, name, ids[name].missing)
        marks.add(bad, name, ids[name].unfit)
    millis, readable = to_milliseconds(
        raw.columns[settings.timestamp], settings.timestamp_unit, settings.timestamp_format
    )
    marks.add(NO_TIME, settings.timestamp, ~readable | raw.not_scalar(settings.timestamp))
    if window is not None:
        for reason, outside in window.outside(millis, settings.late).items():
            marks.add(reason, settings.timestamp, outside)
    weight = np.ones(n, dtype=np.float32)
    if settings.weight is not None:
        weight, usable = _weights(raw.columns[settings.weight], settings.weight_above)
        marks.add(BAD_WEIGHT, settings.weight, ~usable | raw.not_scalar(settings.weight))
    for name in settings.context:
        marks.add(BAD_CONTEXT, name, raw.not_scalar(name, NESTED))
    context = {name: _context(raw.columns[name], settings.format) for name in settings.context}
    features = event_features(raw, settings)
    for feature in settings.query_features:
        if feature.missing == "reject":
            missing = features[feature.vocabulary].is_null().to_numpy(zero_copy_only=False)
            marks.add(NO_VALUE, feature.source, missing)
    events = pa.RecordBatch.from_pydict(
        {
            "key": ids[settings.key].values,
            "item": ids[settings.item].values,
            "timestamp": pa.array(millis),
            "weight": pa.array(weight),
            **context,
            **features,
        }
    )
    rejects = [
        Reject(row, MALFORMED, "" if forgotten is not None and forgotten.mentioned(text) else shortened(text))
        for row, text in raw.malformed
    ]
    if marks.any:
        rejects += marks.rejects(raw)
        events = events.filter(pa.array(marks.clean))
    return events, sorted(rejects, key=lambda reject: reject.row)


def no_events(settings: Settings) -> pa.RecordBatch:
    """What `check` gives for a span on which nothing happened."""
    fixed = [("key", pa.string()), ("item", pa.string()), ("timestamp", pa.int64()), ("weight", pa.float32())]
    features = ((feature.vocabulary, type_of(feature)) for feature in settings.query_features)
    schema = pa.schema([*fixed, *((name, pa.binary()) for name in settings.context), *features])
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def _matches(column: pa.Array, rule: Rule) -> np.ndarray:
    text = text_of(column).fill_null("")
    if re.escape(rule.matches) == rule.matches:
        return pc.starts_with(text, rule.matches).to_numpy(zero_copy_only=False)
    # Python's own expressions, as the settings promise: Arrow's know neither look-around nor Unicode's digits.
    encoded = pc.dictionary_encode(text)
    pattern = re.compile(rule.matches)
    hits = np.array([pattern.match(value) is not None for value in encoded.dictionary.to_pylist()], dtype=bool)
    return hits[encoded.indices.to_numpy(zero_copy_only=False)] if len(hits) else np.zeros(len(column), dtype=bool)


def _weights(column: pa.Array, above: float | None) -> tuple[np.ndarray, np.ndarray]:
    if pa.types.is_string(column.type):
        column = without_plus(pc.ascii_trim_whitespace(column))
    numbers = cast_or_null(column, pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        weights = numbers.astype(np.float32)
    usable = np.isfinite(weights)
    if above is not None:
        usable &= numbers > above
    return weights, usable


def _context(column: pa.Array, format: str) -> pa.Array:
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        return column.cast(pa.binary())
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    text = text_of(column).cast(pa.binary())
    if format == "csv":
        # An empty field is how CSV writes a missing value.
        text = pc.if_else(pc.equal(pc.binary_length(text), 0), pa.scalar(None, pa.binary()), text)
    return text
