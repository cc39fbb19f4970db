"""Checked events between the two halves of the work: written by one worker, read by another."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from components.span_example_gen.files import read_file, write_file
from components.span_example_gen.marks import Reject
from components.span_example_gen.readers.raw_batch import Kind

SHARD_ROWS = 262_144
EXAMPLES_KEPT = 5
NAMES_KEPT = 100


@dataclasses.dataclass
class Summary:
    """What is known of a shard without opening it.

    Attributes:
      task, part: which.
      events, read: rows that are events, and all.
      reasons, examples: rejects by reason, and the first few of each.
      kinds: what each context column holds.
      present: columns that some record has.
      feature_counts: see `event_features.counted`.
      error: stands for a span that can't be read on.
    """

    task: int
    part: int = 0
    events: int = 0
    read: int = 0
    reasons: dict[str, int] = dataclasses.field(default_factory=dict)
    examples: dict[str, list[tuple[str, int, str]]] = dataclasses.field(default_factory=dict)
    kinds: dict[str, Kind] = dataclasses.field(default_factory=dict)
    present: set[str] = dataclasses.field(default_factory=set)
    error: str = ""
    feature_counts: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.task:06d}-{self.part:04d}"

    def count(self, file: str, rejects: Iterable[Reject]) -> None:
        for reject in rejects:
            self.reasons[reject.reason] = self.reasons.get(reject.reason, 0) + 1
            kept = self.examples.setdefault(reject.reason, [])
            if len(kept) < EXAMPLES_KEPT:
                kept.append((file, reject.row, reject.value))

    def see(self, names: Iterable[str], wanted: Sequence[str]) -> None:
        """Keeps names of columns: the wanted ones, and of others the first few."""
        self.present.update(names if len(self.present) < NAMES_KEPT else {*names} & {*wanted})

    def unite(self, kinds: dict[str, Kind]) -> None:
        self.kinds = united_kinds([self.kinds, kinds])


def united_kinds(all_kinds: Sequence[dict[str, Kind]]) -> dict[str, Kind]:
    """One kind a column that holds all its values: an int is also a float, and anything is also bytes."""
    united: dict[str, Kind] = {}
    for kinds in all_kinds:
        for name, kind in kinds.items():
            known = united.get(name)
            if known is None or kind is None or known == kind:
                united[name] = known or kind
            else:
                united[name] = "float" if {known, kind} == {"int", "float"} else "bytes"
    return united


def write_shard(
    folder: str, summary: Summary, events: list[pa.RecordBatch], hashes: list[np.ndarray], rejects: str
) -> None:
    """Writes the events, their hashes and times, and the lines of the rejects file, as three files."""
    sink = io.BytesIO()
    if events:
        with pa.ipc.new_stream(sink, events[0].schema) as stream:
            for batch in events:
                stream.write_batch(batch)
    write_file(_path(folder, summary.name, "events.arrow"), sink.getvalue())
    times = [batch.column(2).to_numpy().view(np.uint64) for batch in events]
    index = np.column_stack([np.concatenate(hashes), np.concatenate(times)]) if events else np.zeros((0, 3), np.uint64)
    write_file(_path(folder, summary.name, "index"), index.tobytes())
    write_file(_path(folder, summary.name, "rejects.csv"), rejects.encode("utf-8"))


def read_index(folder: str, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Hashes uint64 [n, 2] and times int64 [n] of all shards, one after the other."""
    parts = [np.frombuffer(read_file(_path(folder, name, "index")), np.uint64).reshape(-1, 3) for name in names]
    index = np.concatenate(parts) if parts else np.zeros((0, 3), np.uint64)
    return index[:, :2], np.ascontiguousarray(index[:, 2]).view(np.int64)


def read_events(folder: str, name: str) -> pa.Table:
    """The shard's events as `checks.check` gave them."""
    return pa.ipc.open_stream(read_file(_path(folder, name, "events.arrow"))).read_all()


def write_choice(folder: str, name: str, choice: np.ndarray) -> None:
    """Keeps the shard's part of `selection.select`'s answer."""
    write_file(_path(folder, name, "choice"), choice.tobytes())


def read_choice(folder: str, name: str) -> np.ndarray:
    """uint8, one for each event of the shard."""
    return np.frombuffer(read_file(_path(folder, name, "choice")), np.uint8)


def read_rejects(folder: str, name: str) -> bytes:
    """The shard's lines of the rejects file, without a header."""
    return read_file(_path(folder, name, "rejects.csv"))


def reject_lines(file: str, rejects: Iterable[Reject]) -> str:
    """The rejects as lines of CSV: file, line, reason, value."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(
        (file, reject.row, reject.reason, reject.value) for reject in rejects
    )
    return out.getvalue()


def _path(folder: str, name: str, kind: str) -> str:
    return os.path.join(folder, f"{name}.{kind}")
