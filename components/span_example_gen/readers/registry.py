"""The one table of formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from components.span_example_gen.readers import csv_reader, jsonl_reader, parquet_reader
from components.span_example_gen.readers.raw_batch import FilePiece, RawBatch
from components.span_example_gen.readers.required_columns import ColumnsError

Plan = Callable[[str, str, Sequence[str]], list[FilePiece]]
Read = Callable[[FilePiece, Sequence[str]], Iterator[RawBatch]]


def reader_of(format: str) -> tuple[Plan, Read]:
    """How a file of this format is cut into pieces, and how a piece is read."""
    if format == "tfrecord":
        # The only reader that needs TensorFlow's decoder.
        from components.span_example_gen.readers import tfrecord_reader

        return tfrecord_reader.plan, tfrecord_reader.read
    reader = {"csv": csv_reader, "jsonl": jsonl_reader, "parquet": parquet_reader}[format]
    return reader.plan, reader.read


def plan_files(format: str, files: Sequence[tuple[str, str]], columns: Sequence[str]) -> list[FilePiece]:
    """The pieces of files, given as path and name.

    A file that lacks a column, whose rows are rejects then, does not decide for the others.

    Raises:
      SpanError: a file is not whole, or all lack columns.
    """
    plan, _ = reader_of(format)
    pieces: list[FilePiece] = []
    problems: list[ColumnsError] = []
    for path, name in files:
        try:
            pieces += plan(path, name, columns)
        except ColumnsError as error:
            problems.append(error)
            pieces += plan(path, name, ())
    if problems and len(problems) == len(files):
        raise problems[0]
    return pieces
