"""Rows of Parquet files, a piece a row group."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet

from components.span_example_gen.errors import SpanError
from components.span_example_gen.readers.raw_batch import BATCH_ROWS, FilePiece, Kind, RawBatch
from components.span_example_gen.readers.required_columns import require_columns


def plan(path: str, name: str, columns: Sequence[str]) -> list[FilePiece]:
    """Reads the file's footer.

    Raises:
      SpanError: the file is no whole Parquet file, lacks one of `columns`, or has one of a nested type.
    """
    try:
        with _open(path) as stream:
            file = pa.parquet.ParquetFile(stream)
            schema, metadata = file.schema_arrow, file.metadata
    except (pa.ArrowInvalid, OSError) as error:
        raise SpanError(f"{name} must be a whole Parquet file. {error}. Deliver the file again.") from None
    require_columns(name, columns, schema.names)
    for column in columns:
        kind_of(schema.field(column).type, name, column)
    pieces, first_row = [], 1
    for group in range(metadata.num_row_groups):
        size = metadata.row_group(group).total_byte_size
        pieces.append(FilePiece(path, name, group, None, first_row, size=size))
        first_row += metadata.row_group(group).num_rows
    return pieces


def read(piece: FilePiece, columns: Sequence[str]) -> Iterator[RawBatch]:
    """Yields the row group's rows, typed as the file has them, dictionaries decoded."""
    first = piece.first_row
    with _open(piece.path) as stream:
        file = pa.parquet.ParquetFile(stream)
        try:
            for batch in file.iter_batches(BATCH_ROWS, row_groups=[piece.start], columns=list(columns)):
                arrays = {name: decoded(batch.column(batch.schema.get_field_index(name))) for name in columns}
                kinds = {name: kind_of(array.type, piece.name, name) for name, array in arrays.items()}
                yield RawBatch(arrays, np.arange(first, first + batch.num_rows, dtype=np.int64), kinds=kinds)
                first += batch.num_rows
        except (pa.ArrowInvalid, OSError) as error:
            raise SpanError(f"{piece.name} must be a whole Parquet file. {error}. Deliver the file again.") from None


def decoded(array: pa.Array) -> pa.Array:
    """The array without dictionary encoding."""
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def kind_of(kind: pa.DataType, file: str, column: str) -> Kind:
    """What a column of this type becomes in an Example.

    Raises:
      SpanError: the type is nested.
    """
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_nested(kind):
        raise SpanError(f"{file}: column {column!r} must hold one value a row. Received: type {kind}.")
    if pa.types.is_null(kind):
        return None
    if pa.types.is_uint64(kind):
        return "bytes"
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return "int"
    return "float" if pa.types.is_floating(kind) else "bytes"


def _open(path: str) -> pa.NativeFile:
    filesystem, inside = pa.fs.FileSystem.from_uri(path if "://" in path else os.path.abspath(path))
    return filesystem.open_input_file(inside)


def column_names(path: str, name: str) -> list[str]:
    """The columns that are not nested.

    Raises:
      SpanError: the file is no whole Parquet file.
    """
    try:
        with _open(path) as stream:
            schema = pa.parquet.read_schema(stream)
    except (pa.ArrowInvalid, OSError) as error:
        raise SpanError(f"{name} must be a whole Parquet file. {error}. Deliver the file again.") from None
    return [field.name for field in schema if not pa.types.is_nested(field.type)]
