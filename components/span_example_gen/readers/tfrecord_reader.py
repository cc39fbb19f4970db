"""Rows of TFRecord files of tf.Example."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import tensorflow as tf
from google.protobuf.message import DecodeError
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.object_store.files import local_copy, status
from components.span_example_gen.errors import SpanError
from components.span_example_gen.readers.parquet_reader import kind_of
from components.span_example_gen.readers.raw_batch import BATCH_ROWS, NESTED, FilePiece, Kind, RawBatch


def plan(path: str, name: str, columns: Sequence[str]) -> list[FilePiece]:
    """One piece a file: only from its start can its records be found. Which columns it has is told by each record."""
    return [FilePiece(path, name, size=status(path).size * (4 if path.endswith(".gz") else 1))]


def read(piece: FilePiece, columns: Sequence[str]) -> Iterator[RawBatch]:
    """Yields the file's rows; a record that is no tf.Example is malformed."""
    decoder = ExamplesToRecordBatchDecoder()
    first = piece.first_row
    for records in _records(piece.path, piece.name, BATCH_ROWS):
        rows = np.arange(first, first + len(records), dtype=np.int64)
        first += len(records)
        malformed: list[tuple[int, str]] = []
        try:
            batch = decoder.DecodeBatch(records)
        except RuntimeError:
            whole = np.array([_parses(record) for record in records])
            malformed = [(int(row), "") for row in rows[~whole]]
            rows = rows[whole]
            records = [record for record, good in zip(records, whole, strict=True) if good]
            try:
                batch = decoder.DecodeBatch(records)
            except RuntimeError:
                yield _mixed(records, columns, rows, malformed)
                continue
        arrays = {name: _first_values(batch, name) for name in columns}
        shapes = {name: shape for name in columns if (shape := _shape(batch, name)) is not None}
        kinds = {name: kind_of(array.type) for name, array in arrays.items()}
        yield RawBatch(arrays, rows, malformed, kinds, shapes, present=frozenset(batch.schema.names))


def _records(path: str, name: str, size: int) -> Iterator[list[bytes]]:
    try:
        with local_copy(path) as copy:
            data = tf.data.TFRecordDataset(copy, "GZIP" if path.endswith(".gz") else "")
            for batch in data.batch(size).as_numpy_iterator():
                yield batch.tolist()
    except tf.errors.DataLossError as error:
        raise SpanError(f"{name} must be a whole TFRecord file. {error.message}. Deliver the file again.") from None


def _parses(record: bytes) -> bool:
    try:
        tf.train.Example.FromString(record)
    except DecodeError:
        return False
    return True


def _mixed(
    records: list[bytes], columns: Sequence[str], rows: np.ndarray, malformed: list[tuple[int, str]]
) -> RawBatch:
    """The rows of records in which a feature has not one type: each value as text, like a number of JSON."""
    features = [tf.train.Example.FromString(record).features.feature for record in records]
    columns_read, kinds, shapes = {}, {}, {}
    for name in columns:
        cells = [_values(of_record[name]) if name in of_record else (None, []) for of_record in features]
        columns_read[name] = pa.array([_text(values) for _, values in cells], pa.binary())
        kinds[name] = _ONE_KIND.get(frozenset(kind for kind, values in cells if values), "bytes")
        shapes[name] = np.array([NESTED if len(values) > 1 else 0 for _, values in cells], np.uint8)
    present = frozenset(name for of_record in features for name in of_record)
    return RawBatch(columns_read, rows, malformed, kinds, shapes, present=present)


_ONE_KIND: dict[frozenset[str | None], Kind] = {
    frozenset(): None,
    frozenset({"int64_list"}): "int",
    frozenset({"float_list"}): "float",
    frozenset({"int64_list", "float_list"}): "float",
}


def _values(feature: tf.train.Feature) -> tuple[str | None, list[bytes | int | float]]:
    kind = feature.WhichOneof("kind")
    return kind, [] if kind is None else list(getattr(feature, kind).value)


def _text(values: list[bytes | int | float]) -> bytes | None:
    if not values:
        return None
    return values[0] if isinstance(values[0], bytes) else str(values[0]).encode()


def _shape(batch: pa.RecordBatch, name: str) -> np.ndarray | None:
    at = batch.schema.get_field_index(name)
    if at < 0 or pa.types.is_null(batch.schema.field(at).type):
        return None
    lengths = batch.column(at).value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    return np.where(lengths > 1, NESTED, 0).astype(np.uint8) if (lengths > 1).any() else None


def _first_values(batch: pa.RecordBatch, name: str) -> pa.Array:
    at = batch.schema.get_field_index(name)
    if at < 0 or pa.types.is_null(batch.schema.field(at).type):
        return pa.nulls(batch.num_rows)
    column = batch.column(at)
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]) if len(lengths) else np.zeros(0, np.int64)
    return column.flatten().take(pa.array(starts, mask=lengths == 0))


def column_names(path: str, name: str, records: int) -> list[str]:
    """The features of the first `records` records that never have several values.

    Raises:
      SpanError: the file is cut, or none of these is a tf.Example.
    """
    single: dict[str, bool] = {}
    for batch in itertools.islice(_records(path, name, records), 1):
        examples = [tf.train.Example.FromString(record) for record in batch if _parses(record)]
        if not examples:
            raise SpanError(f"{name} must hold records of tf.Example. Received: {batch[0][:80]!r}.")
        for example in examples:
            for column, feature in example.features.feature.items():
                kind = feature.WhichOneof("kind")
                few = kind is None or len(getattr(feature, kind).value) <= 1
                single[column] = single.get(column, True) and few
    return sorted(column for column, alone in single.items() if alone)
