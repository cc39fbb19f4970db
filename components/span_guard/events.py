"""A span's Examples as the columns that are measured."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tfx.types import artifact
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.artifacts import split_files
from components.span_example_gen.settings import EVENT_FEATURES
from components.span_guard.figures import Day

_BATCH = 16_384
_SPLITS = ("train", "eval")


def read_day(examples: artifact.Artifact, start: int | None) -> Day:
    """Reads both splits, in file order, with weight and context columns.

    Args:
      examples: of `SpanExampleGen`, whose counts are properties of the artifact.
      start: where the span begins, unix milliseconds; None where that is not known.
    """
    batches = list(_batches([path for split in _SPLITS for path in split_files(examples, split)]))
    names = dict.fromkeys(name for batch in batches for name in batch.schema.names)
    columns = {name: _joined([_values(batch, name) for batch in batches]) for name in names}
    # A day without an event has files without a record, of which no column is known.
    keys, items, times = (columns.pop(name, pa.array([], pa.binary())) for name in EVENT_FEATURES[:3])
    return Day(
        keys=keys.cast(pa.binary()),
        items=items.cast(pa.binary()),
        timestamps=times.to_numpy(zero_copy_only=False).astype(np.int64),
        columns=columns,
        rows=_count(examples, "rows"),
        rejects=_count(examples, "rejects"),
        duplicates=_count(examples, "duplicates"),
        start=start,
    )


def _batches(paths: list[str]) -> Iterator[pa.RecordBatch]:
    decoder = ExamplesToRecordBatchDecoder()
    for records in tf.data.TFRecordDataset(paths, "GZIP", buffer_size=4 << 20).batch(_BATCH):
        yield decoder.DecodeBatch(records.numpy().tolist())


def _values(batch: pa.RecordBatch, name: str) -> pa.Array:
    """The one value of each row, null where it has none."""
    at = batch.schema.get_field_index(name)
    if at < 0:
        return pa.nulls(batch.num_rows)
    lists = batch.column(at)
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    if lists.null_count == 0 and (lengths == 1).all():
        return lists.flatten()
    first = np.cumsum(lengths) - lengths
    return lists.flatten().take(pa.array(first, mask=lengths == 0))


def _joined(parts: list[pa.Array]) -> pa.Array:
    types = {part.type for part in parts if not pa.types.is_null(part.type)}
    # A column of whole numbers in one batch and of fractions in another is one of fractions.
    kind = types.pop() if len(types) == 1 else pa.float64() if pa.binary() not in types else pa.binary()
    return pa.concat_arrays([part.cast(kind) if part.type != kind else part for part in parts])


def _count(examples: artifact.Artifact, name: str) -> int:
    return examples.get_int_custom_property(name) if examples.has_custom_property(name) else 0
