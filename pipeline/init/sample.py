"""Rows of some spans, read by ingestion's own readers."""

from __future__ import annotations

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from components.span_example_gen.casts import text_of
from components.span_example_gen.errors import SpanError
from components.span_example_gen.ids import NOTHING
from components.span_example_gen.readers import parquet_reader
from components.span_example_gen.readers.column_names import column_names
from components.span_example_gen.readers.line_chunks import first_line
from components.span_example_gen.readers.raw_batch import BATCH_ROWS, PIECE_BYTES, FilePiece, RawBatch
from components.span_example_gen.readers.registry import reader_of
from pipeline.init.errors import InitError
from pipeline.init.span_layout import Format, Layout

SPANS_SEEN = 6
ROWS = 6000
# Of a file that can only be read from its start, so much of it.
BATCHES_READ = 4
# One value does not decide what a column is.
MOST = 0.9

Kind = Literal["int", "float", "text", "time", "other"]
_INT = re.compile(r"\s*[+-]?\d{1,19}\s*")


@dataclass(frozen=True)
class Column:
    """What a column holds: an array for each batch of the sample, null where a batch has no such column."""

    name: str
    cells: tuple[pa.Array, ...]

    @property
    def rows(self) -> int:
        """How many rows were looked at."""
        return sum(map(len, self.cells))

    @cached_property
    def texts(self) -> list[str | None]:
        """Every value as text, None where it is missing or a word that stands for nothing."""
        return [None if text is None or _is_nothing(text) else text for text in self._written]

    @property
    def nothings(self) -> Counter[str]:
        """Those words, and how often they stand there; an empty text is none."""
        return Counter(text for text in self._written if text is not None and text.strip() and _is_nothing(text))

    @cached_property
    def _written(self) -> list[str | None]:
        return [text for array in self.cells for text in _texts(array)]

    @cached_property
    def values(self) -> list[str]:
        """The present ones."""
        return [text for text in self.texts if text is not None]

    @cached_property
    def kind(self) -> Kind:
        """What nearly all values are."""
        types = {array.type for array in self.cells}
        if any(pa.types.is_boolean(type_) for type_ in types):
            return "other"
        if any(pa.types.is_temporal(type_) for type_ in types):
            return "time"
        if most(_INT.fullmatch(text) is not None for text in self.values):
            return "int"
        return "float" if most(number_in(text) is not None for text in self.values) else "text"


@dataclass(frozen=True)
class Part:
    """What was looked at of one file: `pieces` of it, at most `rows` of their rows, evenly spread.

    `batches` are these with all columns that the file has, `names`.
    """

    span: str
    file: Path
    format: Format
    names: tuple[str, ...]
    pieces: tuple[FilePiece, ...]
    rows: int
    batches: tuple[RawBatch, ...] = ()

    def read(self, columns: Sequence[str], rows: int | None = None) -> list[RawBatch]:
        """The rows with these columns alone, as ingestion reads them, null where the file has none of that name.

        Raises:
          InitError: the file can't be read.
        """
        own = [name for name in columns if name in self.names] or self.names[:1]
        _, read = reader_of(self.format)
        try:
            batches = [batch for piece in self.pieces for batch in _ends(read(piece, own))]
        except SpanError as error:
            raise InitError(str(error)) from None
        # The last piece of a long file may begin inside a quoted field with line ends: no fault of the file.
        if len(self.pieces) > 1 and self.format == "csv" and batches[-1].malformed and not batches[0].malformed:
            batches = batches[:1]
        return [with_columns(_spread(batch, max(1, (rows or self.rows) // len(batches))), columns) for batch in batches]


@dataclass(frozen=True)
class Sample:
    """Some spans, a part or two of each."""

    layout: Layout
    parts: tuple[Part, ...]

    @property
    def spans(self) -> list[str]:
        """The names of those that were looked at."""
        return list(dict.fromkeys(part.span for part in self.parts))

    @cached_property
    def columns(self) -> list[Column]:
        """All columns of all parts, in the order in which they are met; one that a file has twice can't be named."""
        twice = {name for part in self.parts for name in part.names if part.names.count(name) > 1}
        names = [name for name in dict.fromkeys(name for part in self.parts for name in part.names) if name.strip()]
        names = [name for name in names if name not in twice]
        batches = [with_columns(batch, names) for part in self.parts for batch in part.batches]
        return [Column(name, tuple(batch.columns[name] for batch in batches)) for name in names]

    @cached_property
    def rows(self) -> dict[str, np.ndarray]:
        """Of each span, where its rows stand in a column."""
        batches = [(part.span, len(batch.rows)) for part in self.parts for batch in part.batches]
        spans = np.repeat([span for span, _ in batches], [length for _, length in batches])
        return {span: np.flatnonzero(spans == span) for span in self.spans}

    def lacking(self, column: str) -> list[Path]:
        """The files that do not have this column."""
        return [part.file for part in self.parts if column not in part.names]

    def read(self, columns: Sequence[str]) -> Iterator[tuple[str, RawBatch]]:
        """The rows with these columns, as ingestion reads them, each batch with the name of its span."""
        for part in self.parts:
            for batch in part.read(columns):
                yield part.span, batch

    def keys(self, column: str) -> list[Counter[str]]:
        """The keys of two neighbouring spans and their events, as many as are read at once."""
        names = list(self.layout.spans)
        middle = len(names) // 2
        counts = []
        for name in names[max(0, middle - 1) : middle + 1]:
            known = [part for part in self.parts if part.span == name]
            for part in (known or _parts_of(self.layout, name, 1))[:1]:
                texts = (text for batch in part.read([column], BATCH_ROWS) for text in _texts(batch.columns[column]))
                # 17008.0 is 17008 that came by way of a float.
                counts.append(Counter(re.sub(r"\.0+$", "", text) for text in texts if text and not _is_nothing(text)))
        return counts


def read_sample(layout: Layout) -> Sample:
    """Looks at spans spread over all, the first and the last among them; one without a row is passed over.

    Raises:
      InitError: a file can't be read in the format, or there is no row at all.
    """
    names = list(layout.spans)
    wanted = np.unique(np.linspace(0, len(names) - 1, SPANS_SEEN).astype(int)).tolist()
    parts: dict[int, list[Part]] = {}
    for place in wanted:
        for near in sorted(range(len(names)), key=lambda other: abs(other - place)):
            if near not in parts and (some := _parts_of(layout, names[near], ROWS // len(wanted))):
                parts[near] = some
                break
    sample = Sample(layout, tuple(part for _, some in sorted(parts.items()) for part in some))
    if not sample.parts:
        raise InitError(f"{layout.files[0]} must hold at least one row of events. Received: none.")
    batches = [batch for part in sample.parts for batch in part.batches]
    if not any(len(batch.rows) for batch in batches):
        first = next(batch.malformed[0] for batch in batches if batch.malformed)
        raise InitError(
            f"{sample.parts[0].file} must be a {layout.format} file that can be read. Received: {first[1][:80]!r} in "
            f"line {first[0]}."
        )
    return sample


def number_in(text: str) -> float | None:
    """The number that a text stands for."""
    try:
        return float(text)
    except ValueError:
        return None


def most(answers: Iterable[bool]) -> bool:
    """Whether nearly all are true, of at least one."""
    each = list(answers)
    return bool(each) and sum(each) >= MOST * len(each)


def _is_nothing(text: str) -> bool:
    return text.strip().lower() in NOTHING


def _texts(array: pa.Array) -> list[str | None]:
    if pa.types.is_decimal(array.type):
        return [None if value is None else str(value) for value in array.to_pylist()]
    return text_of(array).to_pylist()  # type: ignore[no-any-return]


def with_columns(batch: RawBatch, columns: Sequence[str]) -> RawBatch:
    """The batch with these columns, null where it has none of that name."""
    arrays = {name: batch.columns.get(name, pa.nulls(len(batch.rows), pa.string())) for name in columns}
    return RawBatch(arrays, batch.rows, batch.malformed, batch.kinds)


def _parts_of(layout: Layout, span: str, rows: int) -> list[Part]:
    """The first and the last file of a span that hold rows, of which `rows` are to be taken."""
    files = list(layout.spans[span])
    parts: list[Part] = []
    rows = rows // min(2, len(files)) or 1
    while files and len(parts) < 2:
        if part := _part(layout.format, span, files.pop(-1 if parts else 0), rows):
            parts.append(part)
    return parts


def _part(format: Format, span: str, file: Path, rows: int) -> Part | None:
    path = str(file)
    try:
        names = tuple(column_names(format, path, path)) if os.path.getsize(file) else ()
        pieces = tuple(_pieces(format, path, names)) if names else ()
    except SpanError as error:
        raise InitError(str(error)) from None
    if format == "csv" and len(names) == 1 and (other := re.search(r"[;\t|]", names[0])):
        raise InitError(
            f"The columns of {file} must be separated by commas. Received: {other[0]!r} in {names[0][:80]!r}."
        )
    part = Part(span, file, format, names, pieces, rows)
    batches = tuple(part.read(list(dict.fromkeys(names)))) if pieces else ()
    has_rows = any(len(batch.rows) or batch.malformed for batch in batches)
    return dataclasses.replace(part, batches=batches) if has_rows else None


def _pieces(format: Format, path: str, header: tuple[str, ...]) -> list[FilePiece]:
    """The whole file, or of a long one its start and its end."""
    if format == "parquet":
        groups = parquet_reader.plan(path, path, ())
        return groups[:1] + groups[1:][-1:]
    start = len(first_line(path)) if format == "csv" else 0
    whole = FilePiece(path, path, start, None, 2 if format == "csv" else 1, header if format == "csv" else ())
    size = os.path.getsize(path)
    if format == "tfrecord" or path.endswith(".gz") or size <= 2 * PIECE_BYTES:
        return [whole]
    with open(path, "rb") as stream:
        stream.seek(size - PIECE_BYTES)
        stream.readline()
        return [whole, FilePiece(path, path, stream.tell(), header=whole.header)]


def _ends(batches: Iterator[RawBatch]) -> list[RawBatch]:
    some = list(islice(batches, BATCHES_READ))
    return some[:1] + some[1:][-1:]


def _spread(batch: RawBatch, rows: int) -> RawBatch:
    """At most `rows` of the batch from its first to its last, and as large a share of what is malformed."""
    if len(batch.rows) <= rows:
        return batch
    at = np.unique(np.linspace(0, len(batch.rows) - 1, rows).astype(int))
    columns = {name: array.take(pa.array(at)) for name, array in batch.columns.items()}
    return RawBatch(columns, batch.rows[at], list(batch.malformed)[:: len(batch.rows) // rows], batch.kinds)
