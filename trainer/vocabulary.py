"""Ids to rows of an embedding table: stable, with admission by count.

Row 0 is padding, rows 1 to `oov_rows` are shared by all ids without a row of their own, and admitted ids follow in
the order of their admission. Rows are appended. They move only where ids leave (`compacted`), and what was written
before can be read after it, see `trainer.row_numbers`.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainer.atomic_write import atomic_write
from trainer.ids import Ids, as_binary, as_numpy, count_ids, hash_buckets, index_in, one_array
from trainer.row_numbers import RowNumbers

_NO_SPAN = -1


@dataclasses.dataclass(frozen=True, eq=False)
class Vocabulary:
    """An immutable vocabulary; `grow` returns the next one.

    Attributes:
      oov_rows: Number of rows shared by the ids without a row of their own, at least 1.
      span: The last span it was grown by, or -1.
      ids: `[n]` binary, the admitted ids; `ids[i]` has row `first_row + i`.
      counts: `[n]` int64, how often each admitted id was trained on, those before its admission included.
      recent: `[n]` float64, the same with every event halved in weight each `half_life` spans, as of `span`.
      first_span: `[n]` int64, the span in which each admitted id was first seen; -1 where it was not yet (see `admit`).
      last_span: `[n]` int64, the span in which it was last seen, likewise.
      pending: Ids seen too seldom to be admitted, a table of id, count, recent, first_span.
      numbers: `[n]` int64, see `RowNumbers`; None while no id has ever left.
      given_before: Of ids that have, the number that the next id gets.
    """

    oov_rows: int
    span: int
    ids: pa.Array
    counts: npt.NDArray[np.int64]
    recent: npt.NDArray[np.float64]
    first_span: npt.NDArray[np.int64]
    last_span: npt.NDArray[np.int64]
    pending: pa.Table
    numbers: npt.NDArray[np.int64] | None = None
    given_before: int = 0

    @classmethod
    def empty(cls, oov_rows: int) -> Vocabulary:
        """A vocabulary that has seen nothing.

        Raises:
          ValueError: `oov_rows` is below 1.
        """
        if oov_rows < 1:
            raise ValueError(f"`oov_rows` must be at least 1. Received: {oov_rows}.")
        integers = np.empty(0, np.int64)
        return cls(
            oov_rows,
            _NO_SPAN,
            pa.array([], pa.binary()),
            integers,
            np.empty(0),
            integers,
            integers,
            _PENDING.empty_table(),
        )

    @property
    def first_row(self) -> int:
        """The row of the first admitted id."""
        return 1 + self.oov_rows

    @property
    def size(self) -> int:
        """Rows of a table for this vocabulary, padding and out-of-vocabulary rows included."""
        return self.first_row + len(self.ids)

    @property
    def row_numbers(self) -> RowNumbers:
        """What the rows are called in the files of a span."""
        return RowNumbers(self.first_row, self.numbers)

    @property
    def given(self) -> int:
        """The number that the next id gets."""
        return self.size if self.numbers is None else self.given_before

    @property
    def header(self) -> Header:
        """What `read_header` says of it once it is saved."""
        return Header(self.oov_rows, self.span, self.size, self.given)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) over what decides the rows: the ids in order, and `oov_rows`."""
        digest = hashlib.sha256(f"{self.oov_rows},{len(self.ids)}".encode())
        if len(self.ids):
            ids = pa.concat_arrays([self.ids])
            digest.update(pc.binary_length(ids).cast(pa.int64()).to_numpy(zero_copy_only=False).tobytes())
            offsets = np.frombuffer(ids.buffers()[1], np.int32, len(ids) + 1, ids.offset * 4)
            data = ids.buffers()[2]
            if data is not None:
                digest.update(memoryview(data)[offsets[0] : offsets[-1]])
        return digest.hexdigest()

    def lookup(self, ids: Ids) -> npt.NDArray[np.int64]:
        """The rows of `ids`, `[n]` int64. An id without a row gets `to_hash_bucket_fast(id, oov_rows) + 1`."""
        ids = as_binary(ids)
        index = self._index(ids)
        rows = index + self.first_row
        unknown = np.flatnonzero(index < 0)
        if len(unknown):
            rows[unknown] = 1 + hash_buckets(ids.take(pa.array(unknown)), self.oov_rows)
        return rows

    def ids_of(self, rows: npt.ArrayLike) -> pa.Array:
        """The ids of `rows`, `[n]` binary; null for padding and out-of-vocabulary rows.

        Raises:
          IndexError: a row is negative or not below `size`.
        """
        numbers = np.asarray(rows, np.int64)
        if len(numbers) and (numbers.min() < 0 or numbers.max() >= self.size):
            wrong = numbers[(numbers < 0) | (numbers >= self.size)][0]
            raise IndexError(f"A row must be in [0, {self.size}). Received: {wrong}.")
        index = numbers - self.first_row
        return self.ids.take(pa.array(index, mask=index < 0))

    def rows_of(self, ids: Ids, other: int) -> npt.NDArray[np.int64]:
        """The rows of `ids`, `[n]` int64; `other` for one without a row."""
        index = self._index(as_binary(ids))
        return np.where(index < 0, other, index + self.first_row)

    def admit(self, ids: Ids, span: int) -> Vocabulary:
        """The vocabulary with a row for each of `ids`, trained on or not; new ones in the order in which they come.

        What was seen too seldom for a row keeps its counts.

        Args:
          ids: The ids.
          span: The span number; the vocabulary's, or a later one.
        """
        unique = as_binary(ids).unique()
        ids = unique.filter(pa.array(self._index(unique) < 0))
        grown = self if span == self.span else self.grow(pa.array([], pa.binary()), span, 1, np.inf)
        waiting = index_in(ids, grown.pending["id"])
        old = grown.pending.take(pa.array(np.maximum(waiting, 0))) if len(grown.pending) else None
        fields = [("count", 0), ("recent", 0.0), ("first_span", _NO_SPAN)]
        counts, recent, first = (
            np.full(len(ids), nothing) if old is None else np.where(waiting < 0, nothing, as_numpy(old[name]))
            for name, nothing in fields
        )
        left = np.ones(len(grown.pending), bool)
        left[waiting[waiting >= 0]] = False
        return dataclasses.replace(
            grown,
            **grown._numbered(len(ids)),
            ids=pa.concat_arrays([grown.ids, ids]),
            counts=np.concatenate([grown.counts, counts]),
            recent=np.concatenate([grown.recent, recent]),
            first_span=np.concatenate([grown.first_span, first]),
            last_span=np.concatenate([grown.last_span, first]),
            pending=grown.pending.filter(pa.array(left)).combine_chunks(),
        )

    def trained_counts(self, ids: Ids) -> npt.NDArray[np.int64]:
        """How often each of `ids` was trained on, `[n]` int64, whether it has a row or not; 0 for one never seen."""
        ids = as_binary(ids)
        index = self._index(ids)
        counts = np.zeros(len(ids), np.int64)
        counts[index >= 0] = self.counts[index[index >= 0]]
        waiting = index_in(ids, self.pending["id"])
        counts[waiting >= 0] = as_numpy(self.pending["count"])[waiting[waiting >= 0]]
        return counts

    def grow(
        self, ids: Ids, span: int, min_count: int, half_life: float, counts: npt.ArrayLike | None = None
    ) -> Vocabulary:
        """The vocabulary after `ids` were trained on in `span`.

        An id is admitted when it was seen `min_count` times over all spans. Ids admitted by one call get their rows in
        the order of their first occurrence in `ids`.

        Args:
          ids: The ids of the events, in a deterministic order; repeated as often as they occur.
          span: The span number; the same again (the span's next batch) or a later one.
          min_count: Occurrences needed for a row, at least 1.
          half_life: Spans after which an event counts half in `recent`.
          counts: `[n]`, how often each of `ids` occurs, when they are already counted.

        Raises:
          ValueError: `span` is before the vocabulary's, or `min_count` is below 1, or `half_life` is not above 0.
        """
        if span < self.span:
            raise ValueError(f"`span` must not be before the vocabulary's, {self.span}. Received: {span}.")
        if min_count < 1:
            raise ValueError(f"`min_count` must be at least 1. Received: {min_count}.")
        if not half_life > 0:
            raise ValueError(f"`half_life` must be above 0 spans. Received: {half_life}.")
        seen, times = count_ids(as_binary(ids), counts)
        decay = 1.0 if self.span == _NO_SPAN else 0.5 ** ((span - self.span) / half_life)

        known = self._index(seen)
        totals, recent, last_span = self.counts.copy(), self.recent * decay, self.last_span.copy()
        first_span, seen_again = self.first_span.copy(), known[known >= 0]
        first_span[seen_again[first_span[seen_again] == _NO_SPAN]] = span
        totals[known[known >= 0]] += times[known >= 0]
        recent[known[known >= 0]] += times[known >= 0]
        last_span[known[known >= 0]] = span

        seen, times = seen.filter(pa.array(known < 0)), times[known < 0]
        waiting = index_in(seen, self.pending["id"])
        before = waiting >= 0
        new = pa.table([seen, times, times.astype(np.float64), np.full(len(seen), span, np.int64)], _PENDING)
        if before.any():
            old = self.pending.take(pa.array(waiting[before]))
            new_count, new_recent, new_first = (
                as_numpy(new[name]).copy() for name in ("count", "recent", "first_span")
            )
            new_count[before] += as_numpy(old["count"])
            new_recent[before] += as_numpy(old["recent"]) * decay
            new_first[before] = as_numpy(old["first_span"])
            new = pa.table([seen, new_count, new_recent, new_first], _PENDING)
        admitted = as_numpy(new["count"]) >= min_count
        chosen = new.filter(pa.array(admitted))

        untouched = np.ones(len(self.pending), bool)
        untouched[waiting[before]] = False
        kept = self.pending.filter(pa.array(untouched))
        kept = kept.set_column(2, "recent", pa.array(as_numpy(kept["recent"]) * decay))
        return Vocabulary(
            oov_rows=self.oov_rows,
            span=span,
            ids=pa.concat_arrays([self.ids, one_array(chosen["id"])]),
            counts=np.concatenate([totals, as_numpy(chosen["count"])]),
            recent=np.concatenate([recent, as_numpy(chosen["recent"])]),
            first_span=np.concatenate([first_span, as_numpy(chosen["first_span"])]),
            last_span=np.concatenate([last_span, np.full(len(chosen), span, np.int64)]),
            pending=pa.concat_tables([kept, new.filter(pa.array(~admitted))]).combine_chunks(),
            **self._numbered(len(chosen)),
        )

    def _numbered(self, more: int) -> dict[str, Any]:
        """`numbers` and `given` with so many more rows."""
        if self.numbers is None:
            return {}
        new = np.arange(self.given, self.given + more)
        return {"numbers": np.concatenate([self.numbers, new]), "given_before": self.given + more}

    def compacted(self, stay: npt.NDArray[np.bool_]) -> Vocabulary:
        """The vocabulary of the ids for which `stay`, bool `[n]`, holds: the others lose row and counts."""
        numbers = self.row_numbers
        columns = {name: getattr(self, name)[stay] for name in ("counts", "recent", "first_span", "last_span")}
        every = numbers.every(self.size)[self.first_row :]
        kept = pa.concat_arrays([self.ids.filter(pa.array(stay))])
        return dataclasses.replace(self, ids=kept, **columns, numbers=every[stay], given_before=self.given)

    def without_pending_before(self, span: int) -> Vocabulary:
        """Without the counts of ids that have no row and were first seen before `span`."""
        young = pc.greater_equal(self.pending["first_span"], span)
        return dataclasses.replace(self, pending=self.pending.filter(young).combine_chunks())

    def save(self, folder: str | Path, name: str) -> None:
        """Writes `<name>.parquet` and `<name>_pending.parquet` into the existing `folder`."""
        about = {"oov_rows": str(self.oov_rows), "span": str(self.span)}
        columns, schema = [self.ids, self.counts, self.recent, self.first_span, self.last_span], _ADMITTED
        if self.numbers is not None:
            columns, schema, about = [*columns, self.numbers], _NUMBERED, {**about, "given": str(self.given)}
        _write(pa.table(columns, schema.with_metadata(about)), Path(folder) / f"{name}.parquet")
        _write(self.pending.replace_schema_metadata(about), Path(folder) / f"{name}_pending.parquet")

    @classmethod
    def load(cls, folder: str | Path, name: str) -> Vocabulary:
        """Reads what `save` wrote.

        Raises:
          FileNotFoundError: there is no such vocabulary.
          ValueError: the file is not a vocabulary.
        """
        header = read_header(folder, name)
        table = pq.read_table(Path(folder) / f"{name}.parquet")
        numbers = as_numpy(table["number"]) if "number" in table.column_names else None
        table = table.select(_ADMITTED.names).cast(_ADMITTED)
        pending = pq.read_table(Path(folder) / f"{name}_pending.parquet").cast(_PENDING).combine_chunks()
        return cls(
            header.oov_rows,
            header.span,
            one_array(table["id"]),
            as_numpy(table["count"]),
            as_numpy(table["recent"]),
            as_numpy(table["first_span"]),
            as_numpy(table["last_span"]),
            pending,
            numbers,
            header.given if numbers is not None else 0,
        )

    def _index(self, ids: pa.Array) -> npt.NDArray[np.int64]:
        return index_in(ids, self.ids)


def share_new(folder: str | Path, name: str, span: int) -> float | None:
    """Of the ids with a row that were trained on in `span`, the share that no earlier span had; None without any."""
    columns = ["first_span", "last_span"]
    table = pq.read_table(Path(folder) / f"{name}.parquet", columns=columns)
    first, last = (as_numpy(table[column]) for column in columns)
    seen = last == span
    return float(np.mean(first[seen] == span)) if seen.any() else None


_PENDING = pa.schema([("id", pa.binary()), ("count", pa.int64()), ("recent", pa.float64()), ("first_span", pa.int64())])
_ADMITTED = _PENDING.append(pa.field("last_span", pa.int64()))
_NUMBERED = _ADMITTED.append(pa.field("number", pa.int64()))


@dataclasses.dataclass(frozen=True)
class Header:
    """Of a saved vocabulary, without reading its ids: `size` as in `Vocabulary`, `given` as in `RowNumbers`."""

    oov_rows: int
    span: int
    size: int
    given: int


def read_header(folder: str | Path, name: str) -> Header:
    """Reads only the header of the vocabulary that `save` wrote.

    Raises:
      FileNotFoundError: there is no such vocabulary.
      ValueError: the file is not a vocabulary.
    """
    path = Path(folder) / f"{name}.parquet"
    file = pq.read_metadata(path)
    about, names = file.metadata or {}, file.schema.names
    if b"oov_rows" not in about or names not in (_ADMITTED.names, _NUMBERED.names):
        raise ValueError(f"{path} must be a vocabulary written by `Vocabulary.save`. Received: columns {names}.")
    oov_rows = int(about[b"oov_rows"])
    size = 1 + oov_rows + file.num_rows
    return Header(oov_rows, int(about[b"span"]), size, int(about.get(b"given", size)))


def _write(table: pa.Table, path: Path) -> None:
    with atomic_write(path) as beside:
        pq.write_table(table, beside, compression="zstd")
