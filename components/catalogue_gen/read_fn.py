"""The half of the work that Beam spreads: files to checked rows, a task at a time."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from components.catalogue_gen.checks import check, rows_schema
from components.catalogue_gen.settings import CatalogueError, Settings
from components.span_example_gen.errors import SpanError
from components.span_example_gen.files import read_file, write_file
from components.span_example_gen.readers.raw_batch import FilePiece
from components.span_example_gen.readers.registry import reader_of
from components.span_example_gen.readers.required_columns import require_columns
from components.span_example_gen.shards import EXAMPLES_KEPT, Summary, reject_lines

Task = tuple[int, tuple[FilePiece, ...]]
_SUMMARY = "read.json"


@dataclasses.dataclass
class ReadSummary:
    """What became of the rows of all deliveries.

    Attributes:
      rows, rejects: how many there were, and how many can't be used, by reason; `examples` of each.
      unreadable: by feature, values that are there and are no number.
      shards: names of the files of checked rows, in the order of the deliveries.
      error: stands for a delivery that can't be read on.
    """

    rows: int = 0
    reasons: dict[str, int] = dataclasses.field(default_factory=dict)
    examples: dict[str, list[tuple[str, int, str]]] = dataclasses.field(default_factory=dict)
    unreadable: dict[str, int] = dataclasses.field(default_factory=dict)
    shards: list[str] = dataclasses.field(default_factory=list)
    error: str = ""

    @property
    def rejects(self) -> int:
        return sum(self.reasons.values())

    @classmethod
    def read(cls, folder: str) -> ReadSummary:
        return cls(**json.loads(read_file(os.path.join(folder, _SUMMARY))))


class ReadFn(beam.DoFn):
    """Reads a task's pieces, writes its checked rows and its rejects, and yields what it saw."""

    def __init__(self, settings: Settings, folder: str) -> None:
        self._settings, self._folder = settings, folder

    def process(self, task: Task) -> Iterator[tuple[Summary, dict[str, int]]]:
        number, pieces = task
        try:
            yield self._read(number, pieces)
        except SpanError as error:
            # Not raised: Beam would hide the message in a trace.
            yield Summary(number, error=str(error)), {}

    def _read(self, number: int, pieces: tuple[FilePiece, ...]) -> tuple[Summary, dict[str, int]]:
        _, read = reader_of(self._settings.format)
        summary, tables, lines = Summary(number), [rows_schema(self._settings).empty_table()], []
        for piece in pieces:
            for raw in read(piece, self._settings.columns):
                rows, rejects = check(raw, self._settings)
                summary.read += len(raw.rows) + len(raw.malformed)
                summary.see(raw.present, self._settings.columns)
                summary.count(piece.name, rejects)
                tables.append(rows)
                lines.append(reject_lines(piece.name, rejects))
        table, sink = pa.concat_tables(tables), pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        write_file(os.path.join(self._folder, f"{summary.name}.arrow"), sink.getvalue().to_pybytes())
        write_file(os.path.join(self._folder, f"{summary.name}.csv"), "".join(lines).encode("utf-8"))
        numbers = [field.name for field in table.schema if pa.types.is_floating(field.type)]
        return summary, {name: pc.sum(pc.is_nan(table[name])).as_py() or 0 for name in numbers}


def add_up(seen: Iterable[tuple[Summary, dict[str, int]]], settings: Settings, folder: str) -> None:
    """Leaves the summary of all tasks in `folder`."""
    in_order = sorted(seen, key=lambda pair: pair[0].task)
    total = ReadSummary(rows=sum(summary.read for summary, _ in in_order))
    for summary, unreadable in in_order:
        total.error = total.error or summary.error
        total.shards.append(summary.name)
        for reason, count in summary.reasons.items():
            total.reasons[reason] = total.reasons.get(reason, 0) + count
            kept = total.examples.setdefault(reason, [])
            kept += summary.examples[reason][: EXAMPLES_KEPT - len(kept)]
        for name, count in unreadable.items():
            total.unreadable[name] = total.unreadable.get(name, 0) + count
    present = set[str]().union(*(summary.present for summary, _ in in_order))
    if present and settings.format in ("jsonl", "tfrecord") and not total.error:
        # A column that no record has: the settings, and not the records, are wrong.
        try:
            require_columns("The records of the catalogue", settings.columns, sorted(present))
        except SpanError as error:
            total.error = str(error)
    write_file(os.path.join(folder, _SUMMARY), json.dumps(dataclasses.asdict(total)).encode("utf-8"))


def read_rows(folder: str, shards: Sequence[str], settings: Settings) -> pa.Table:
    """The checked rows of all tasks, in the order of the deliveries."""
    tables = [pa.ipc.open_stream(read_file(os.path.join(folder, f"{name}.arrow"))).read_all() for name in shards]
    return pa.concat_tables([rows_schema(settings).empty_table(), *tables])


def refuse_bad(summary: ReadSummary, settings: Settings, rejects_file: str) -> None:
    """Stops before a catalogue of which too much can't be used changes anything.

    Raises:
      CatalogueError: it says why, with the first rows of each reason.
    """
    if summary.error:
        raise CatalogueError(f"The catalogue can't be read. {summary.error}")
    if not summary.rejects > settings.max_reject_fraction * summary.rows:
        return
    lines = [
        f"The catalogue was refused: at most {settings.max_reject_fraction:.2%} of its rows may be rejected "
        f"(`catalogue.max_reject_fraction`). Received: {summary.rejects:,} of {summary.rows:,} rows."
    ]
    for reason, count in sorted(summary.reasons.items(), key=lambda entry: (-entry[1], entry[0])):
        lines.append(f"  {reason}: {count:,}")
        lines += [f"    {file}, line {row}: {value[:80]!r}" for file, row, value in summary.examples[reason]]
    lines.append(f"Nothing was taken in. Correct the settings or the files. All rejected rows: {rejects_file}")
    raise CatalogueError("\n".join(lines))
