"""Tables: Parquet and CSV."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.span_transform import history as history_lib
from pipeline.erasure.formats.base import FileFormat, RewritableFormat, Unreadable
from pipeline.erasure.id_matcher import IdMatcher

_OF_THE_CATALOGUE = ("items", "columns", "feature_")  # how names of its tables begin


class Parquet(FileFormat):
    """Columns of strings, those of the catalogue's tables left out.

    Ids of a vocabulary are places of rows: `erase_in_vocabulary` puts others there.
    """

    def matches(self, path: Path) -> bool:
        return path.suffix == ".parquet"

    def walk(self, path: Path, matcher: IdMatcher) -> Iterator[tuple[pa.Table, int]]:
        try:
            file = pq.ParquetFile(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise Unreadable(path) from error
        if path.name.startswith(_OF_THE_CATALOGUE):
            return
        ids = pa.array(sorted(matcher.ids), pa.binary())
        for group in range(file.num_row_groups):
            table, times = file.read_row_group(group), 0
            of_users = pa.nulls(len(table), pa.bool_()).fill_null(False)
            for field in table.schema:
                if pa.types.is_binary(field.type) or pa.types.is_string(field.type):
                    named = pc.is_in(table[field.name].cast(pa.binary()), value_set=ids)
                    times += pc.sum(named).as_py() or 0
                    of_users = pc.or_(of_users, named)
            yield (table.filter(pc.invert(of_users)) if times else table), times


class History(Parquet, RewritableFormat):
    """A shard of the history, a row a key. Its counts follow."""

    def matches(self, path: Path) -> bool:
        return super().matches(path) and path.name.startswith("history-")

    def write(self, beside: Path, parts: Iterator[pa.Table], path: Path) -> None:
        after = pa.concat_tables(list(parts))
        before = history_lib.read_file(path)
        keys, events, held_out = np.subtract(self._totals(before), self._totals(after)).tolist()
        counts = history_lib.counts_of(path)
        counts = dataclasses.replace(
            counts, keys=counts.keys - keys, events=counts.events - events, held_out=counts.held_out - held_out
        )
        history_lib.write_shard(beside, [after], counts)

    def _totals(self, table: pa.Table) -> tuple[int, int, int]:
        """Keys, events, and those held out."""
        return len(table), history_lib.lengths(table["items"]).sum(), pc.sum(table["held_out"]).as_py() or 0


class Csv(RewritableFormat):
    """Cells."""

    def matches(self, path: Path) -> bool:
        return path.suffix == ".csv"

    def walk(self, path: Path, matcher: IdMatcher) -> Iterator[tuple[list[str], int]]:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            for row in csv.reader(file):
                cells = [matcher.redact_value(cell.encode("utf-8", "surrogateescape")) for cell in row]
                times = sum(times for _, times in cells)
                yield [cell.decode("utf-8", "surrogateescape") for cell, _ in cells] if times else row, times

    def write(self, beside: Path, parts: Iterator[list[str]], path: Path) -> None:
        with beside.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            csv.writer(file, lineterminator="\n").writerows(parts)
