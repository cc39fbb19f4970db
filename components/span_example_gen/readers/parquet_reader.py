"""Rows of Parquet files, a piece a row group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from components.object_store.address import is_address
from components.object_store.files import StoredFile
from components.span_example_gen.casts import text_of
from components.span_example_gen.errors import SpanError
from components.span_example_gen.readers.raw_batch import BATCH_ROWS, LONGEST_INT, NESTED, FilePiece, Kind, RawBatch
from components.span_example_gen.readers.required_columns import absent_columns, require_columns, with_absent


def plan(path: str, name: str, columns: Sequence[str]) -> list[FilePiece]:
    """Reads the file's footer.

    Raises:
      SpanError: the file is no whole Parquet file.
      ColumnsError: it lacks one of `columns`.
    """
    try:
        with _open(path) as stream:
            file = pa.parquet.ParquetFile(stream)
            schema, metadata = file.schema_arrow, file.metadata
    except (pa.ArrowInvalid, OSError) as error:
        raise SpanError(f"{name} must be a whole Parquet file. {error}. Deliver the file again.") from None
    require_columns(name, columns, schema.names)
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
            present = file.schema_arrow.names
            there = [name for name in columns if name not in absent_columns(columns, present)]
            if not there:
                rows = file.metadata.row_group(piece.start).num_rows
                yield with_absent(RawBatch({}, np.arange(first, first + rows, dtype=np.int64)), columns, present)
                return
            for batch in file.iter_batches(BATCH_ROWS, row_groups=[piece.start], columns=there):
                columns_read = {name: batch.column(batch.schema.get_field_index(name)) for name in there}
                raw = RawBatch(
                    {name: decoded(array) for name, array in columns_read.items()},
                    np.arange(first, first + batch.num_rows, dtype=np.int64),
                    kinds={name: kind_of(array.type) for name, array in columns_read.items()},
                    shapes={
                        name: nested(array) for name, array in columns_read.items() if pa.types.is_nested(array.type)
                    },
                )
                yield with_absent(raw, columns, present)
                first += batch.num_rows
        except (pa.ArrowInvalid, OSError) as error:
            raise SpanError(f"{piece.name} must be a whole Parquet file. {error}. Deliver the file again.") from None


def decoded(array: pa.Array) -> pa.Array:
    """The array without dictionary encoding; decimals, lists and objects as text."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return text_of(array) if pa.types.is_decimal(array.type) or pa.types.is_nested(array.type) else array


def kind_of(kind: pa.DataType) -> Kind:
    """What a column of this type becomes in an Example."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_null(kind):
        return None
    if pa.types.is_decimal(kind):
        return "int" if kind.scale == 0 and kind.precision <= LONGEST_INT else "float"
    if pa.types.is_uint64(kind):
        return "bytes"
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return "int"
    return "float" if pa.types.is_floating(kind) else "bytes"


def nested(array: pa.Array) -> np.ndarray:
    """The shape of each cell of a column of lists or objects (see `RawBatch.shapes`)."""
    return np.where(array.is_valid().to_numpy(zero_copy_only=False), NESTED, 0).astype(np.uint8)


def _open(path: str) -> pa.NativeFile:
    if is_address(path):
        return pa.PythonFile(StoredFile(path), mode="r")
    return pa.OSFile(path, "rb")


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
