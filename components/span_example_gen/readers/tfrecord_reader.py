"""Rows of TFRecord files of tf.Example."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import tensorflow as tf
from google.protobuf.message import DecodeError
from tfx.dsl.io import fileio
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.span_example_gen.errors import SpanError
from components.span_example_gen.readers.parquet_reader import kind_of
from components.span_example_gen.readers.raw_batch import BATCH_ROWS, FilePiece, RawBatch
from components.span_example_gen.readers.required_columns import require_columns


def plan(path: str, name: str, columns: Sequence[str]) -> list[FilePiece]:
    """One piece a file: only from its start can its records be found.

    Raises:
      SpanError: the file is cut or empty, or its first record lacks one of `columns`.
    """
    for records in _records(path, name, 1):
        try:
            features = tf.train.Example.FromString(records[0]).features.feature
        except DecodeError:
            break
        require_columns(name, columns, sorted(features))
        break
    else:
        raise SpanError(f"{name} must hold records of tf.Example. Received: an empty file.")
    return [FilePiece(path, name, size=int(fileio.stat(path).length) * (4 if path.endswith(".gz") else 1))]


def read(piece: FilePiece, columns: Sequence[str]) -> Iterator[RawBatch]:
    """Yields the file's rows; a record that is no tf.Example, or has several values in a column, is malformed."""
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
            except RuntimeError as error:
                raise SpanError(f"{piece.name}: a feature must have one type in all records. {error}") from None
        single = np.ones(len(rows), dtype=bool)
        for name in columns:
            at = batch.schema.get_field_index(name)
            if at >= 0 and not pa.types.is_null(batch.schema.field(at).type):
                single &= batch.column(at).value_lengths().fill_null(0).to_numpy(zero_copy_only=False) <= 1
        malformed += [(int(row), "several values in one column") for row in rows[~single]]
        arrays = {name: _first_values(batch, name).filter(pa.array(single)) for name in columns}
        kinds = {name: kind_of(array.type, piece.name, name) for name, array in arrays.items()}
        yield RawBatch(arrays, rows[single], sorted(malformed), kinds)


def _records(path: str, name: str, size: int) -> Iterator[list[bytes]]:
    data = tf.data.TFRecordDataset(path, "GZIP" if path.endswith(".gz") else "")
    try:
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
