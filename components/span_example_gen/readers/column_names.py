"""Which columns a file has: by its header, its schema or its first records."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable

from components.span_example_gen.errors import SpanError
from components.span_example_gen.readers import parquet_reader
from components.span_example_gen.readers.line_chunks import BOM, first_line, line_chunks
from components.span_example_gen.readers.raw_batch import FilePiece

# Where no header names the columns: a record may leave out what others have.
RECORDS_SEEN = 200


def column_names(format: str, path: str, name: str) -> list[str]:
    """The columns that hold one value a row, in the file's order; a CSV header's as often as it has them.

    Raises:
      SpanError: the file can't be read as `format`. A file without a row is no fault: its names are those of its header
        or schema, or none.
    """
    if format == "tfrecord":
        # The only reader that needs TensorFlow.
        from components.span_example_gen.readers import tfrecord_reader

        return tfrecord_reader.column_names(path, name, RECORDS_SEEN)
    of_format: dict[str, Callable[[str, str], list[str]]] = {
        "csv": _of_csv,
        "jsonl": _of_jsonl,
        "parquet": parquet_reader.column_names,
    }
    return of_format[format](path, name)


def _of_csv(path: str, name: str) -> list[str]:
    line = first_line(path)
    try:
        return next(csv.reader([line.removeprefix(BOM).decode("utf-8")], strict=True), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise SpanError(
            f"{name} must start with a line of column names in UTF-8. Received: {line[:80]!r} ({error})."
        ) from None


def _of_jsonl(path: str, name: str) -> list[str]:
    names: dict[str, bool] = {}
    records = 0
    lines: list[bytes] = []
    for chunk in line_chunks(FilePiece(path, name)):
        lines = [line for line in chunk.removeprefix(BOM).split(b"\n") if line.strip()]
        for line in lines[:RECORDS_SEEN]:
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(record, dict):
                records += 1
                for column, value in record.items():
                    names[column] = names.get(column, True) and not isinstance(value, (list, dict))
        break
    if lines and not records:
        raise SpanError(
            f"{name} must hold one JSON object a line. Received: {lines[0][:80].decode('utf-8', 'replace')!r}."
        )
    return [column for column, flat in names.items() if flat]
