"""Rows of CSV files (RFC 4180, UTF-8, with a header), every value a string.

Text without quotes goes through Arrow; from the first quote of a file on, Python's `csv` decides, because only it tells
on which physical line a record with line ends inside its values starts.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.csv

from components.span_example_gen.readers.line_chunks import BOM, cut_at_lines, first_line, line_chunks
from components.span_example_gen.readers.raw_batch import BATCH_ROWS, FilePiece, RawBatch
from components.span_example_gen.readers.required_columns import (
    ColumnsError,
    absent_columns,
    require_columns,
    with_absent,
)

# Of one field: JSON and HTML in a column are far beyond Python's own 128 KiB. A longer one makes its row malformed.
csv.field_size_limit(16 << 20)


def plan(path: str, name: str, columns: Sequence[str]) -> list[FilePiece]:
    """Reads the header and cuts the file into pieces.

    Raises:
      ColumnsError: the header can't be read or lacks one of `columns`; never without `columns`.
    """
    line = first_line(path)
    try:
        header = next(csv.reader([line.removeprefix(BOM).decode("utf-8")], strict=True), [])
    except (UnicodeDecodeError, csv.Error) as error:
        header = []
        if columns:
            raise ColumnsError(
                f"{name} must start with a line of column names in UTF-8. Received: {line[:80]!r} ({error})."
            ) from None
    if columns and not header:
        raise ColumnsError(f"{name} must start with a line of column names. Received: an empty line or file.")
    require_columns(name, columns, header)
    return cut_at_lines(FilePiece(path, name, start=len(line), first_row=2, header=tuple(header)), _one_row_a_line)


def read(piece: FilePiece, columns: Sequence[str]) -> Iterator[RawBatch]:
    """Yields the piece's rows; those with a wrong number of fields, broken quotes or bytes not UTF-8 are malformed."""
    there = [name for name in columns if name not in absent_columns(columns, piece.header)]
    for batch in _read(piece, there):
        yield with_absent(batch, columns, piece.header)


def _read(piece: FilePiece, columns: Sequence[str]) -> Iterator[RawBatch]:
    row = piece.first_row
    chunks = line_chunks(piece)
    for chunk in chunks:
        if not piece.header or not _one_row_a_line(chunk) or not _is_utf8(chunk):
            yield from _read_records(_Lines(chunk, chunks, row), piece.header, columns)
            return
        yield from _read_lines(chunk, row, piece.header, columns)
        row += chunk.count(b"\n")


def _one_row_a_line(block: bytes) -> bool:
    return b'"' not in block and block.count(b"\r") == block.count(b"\r\n")


def _is_utf8(block: bytes) -> bool:
    try:
        block.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _read_lines(block: bytes, first_row: int, header: tuple[str, ...], columns: Sequence[str]) -> Iterator[RawBatch]:
    if not block.strip():
        return
    malformed: list[tuple[int, str]] = []

    def keep(row: pa.csv.InvalidRow) -> str:
        malformed.append((row.number, row.text))
        return "skip"

    # Positions instead of names, so that columns nobody asked for may be called anything, even twice.
    fields = {name: f"f{header.index(name)}" for name in columns}
    table = pa.csv.read_csv(
        pa.BufferReader(block),
        # One thread: only then Arrow numbers the rows it refuses.
        pa.csv.ReadOptions(
            use_threads=False, column_names=[f"f{i}" for i in range(len(header))], block_size=len(block) + 1
        ),
        pa.csv.ParseOptions(quote_char=False, invalid_row_handler=keep),
        pa.csv.ConvertOptions(
            column_types={field: pa.string() for field in fields.values()},
            include_columns=list(dict.fromkeys(fields.values())),
            strings_can_be_null=False,
            check_utf8=False,
        ),
    )
    total = block.count(b"\n") + (not block.endswith(b"\n"))
    if table.num_rows == total:
        rows = np.arange(first_row, first_row + total, dtype=np.int64)
    else:
        rows, refused = _line_numbers(block, first_row, [number for number, _ in malformed])
        malformed = [(line, text) for line, (_, text) in zip(refused, malformed, strict=True)]
    table = table.combine_chunks()
    for start in range(0, max(table.num_rows, 1), BATCH_ROWS):
        part = table.slice(start, BATCH_ROWS)
        arrays = {
            name: pa.concat_arrays(part.column(field).chunks or [pa.array([], pa.string())])
            for name, field in fields.items()
        }
        yield RawBatch(arrays, rows[start : start + BATCH_ROWS], malformed if start == 0 else ())


def _line_numbers(block: bytes, first_row: int, refused: list[int]) -> tuple[np.ndarray, list[int]]:
    """Physical lines of the rows Arrow kept and of those it refused (its 1-based count leaves blank lines out)."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
    starts = np.concatenate([[0], ends + 1])
    if block.endswith(b"\n"):
        starts = starts[:-1]
    data = np.frombuffer(block + b"\n\n", np.uint8)
    blank = (data[starts] == ord("\n")) | ((data[starts] == ord("\r")) & (data[starts + 1] == ord("\n")))
    lines = np.flatnonzero(~blank) + first_row
    position = np.asarray(refused, dtype=np.int64) - 1
    return np.delete(lines, position), lines[position].tolist()


class _Lines:
    """Lines of text with their numbers; lines can be put back."""

    def __init__(self, chunk: bytes, more: Iterator[bytes], first_row: int) -> None:
        self._chunk, self._more = chunk, more
        self._waiting: list[str] = []
        self._source = self._split()
        self.next_row = first_row
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._waiting.pop() if self._waiting else next(self._source)
        self.taken.append(line)
        self.next_row += 1
        return line

    def put_back(self, lines: list[str]) -> None:
        self._waiting.extend(reversed(lines))
        self.next_row -= len(lines)

    def _split(self) -> Iterator[str]:
        chunk: bytes | None = self._chunk
        while chunk is not None:
            # Bytes that are not UTF-8 become lone surrogates: the row is found and named when it is made an array.
            for line in chunk.removesuffix(b"\n").split(b"\n"):
                yield line.decode("utf-8", "surrogateescape") + "\n"
            chunk = next(self._more, None)


def _read_records(lines: _Lines, header: tuple[str, ...], columns: Sequence[str]) -> Iterator[RawBatch]:
    at = [header.index(name) for name in columns]
    reader = csv.reader(lines, strict=True)
    values: list[list[str]] = []
    rows: list[int] = []
    malformed: list[tuple[int, str]] = []
    while True:
        row = lines.next_row
        lines.taken.clear()
        try:
            record = next(reader)
            whole = len(record) == len(header) and _encodable(record)
        except StopIteration:
            break
        except csv.Error:
            whole = False
        if whole:
            values.append(record)
            rows.append(row)
        elif lines.taken and lines.taken != ["\n"] and lines.taken != ["\r\n"]:
            # A quote that is never closed takes the lines after it with it: give them back, so that none is lost.
            first, *others = lines.taken
            malformed.append((row, first.rstrip("\r\n").encode("utf-8", "surrogateescape").decode("utf-8", "replace")))
            lines.put_back(others)
        if len(values) == BATCH_ROWS:
            yield _batch(values, rows, malformed, columns, at)
            values, rows, malformed = [], [], []
    if values or malformed:
        yield _batch(values, rows, malformed, columns, at)


def _encodable(record: list[str]) -> bool:
    try:
        "".join(record).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _batch(
    values: list[list[str]], rows: list[int], malformed: list[tuple[int, str]], columns: Sequence[str], at: list[int]
) -> RawBatch:
    arrays = {
        name: pa.array([record[i] for record in values], pa.string()) for name, i in zip(columns, at, strict=True)
    }
    return RawBatch(arrays, np.asarray(rows, dtype=np.int64), malformed)
