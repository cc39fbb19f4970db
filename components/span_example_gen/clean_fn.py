"""The first half, a task at a time: read, check, hash, write a shard."""

from __future__ import annotations

from collections.abc import Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa

from components.object_store.store import ObjectStoreError
from components.span_example_gen.checks import check
from components.span_example_gen.errors import SpanError
from components.span_example_gen.event_features import add, counted
from components.span_example_gen.hashing import hash_events
from components.span_example_gen.readers.raw_batch import FilePiece
from components.span_example_gen.readers.registry import reader_of
from components.span_example_gen.settings import Settings
from components.span_example_gen.shards import SHARD_ROWS, Summary, reject_lines, write_shard
from components.span_example_gen.span_window import SpanWindow
from components.suppression_list import SuppressionList

Task = tuple[int, tuple[FilePiece, ...]]


class CleanFn(beam.DoFn):
    """Reads a task's pieces and yields the summary of each shard written for it."""

    def __init__(
        self, settings: Settings, window: SpanWindow | None, folder: str, forgotten: SuppressionList | None = None
    ) -> None:
        self._settings, self._window, self._folder, self._forgotten = settings, window, folder, forgotten

    def process(self, task: Task) -> Iterator[Summary]:
        number, pieces = task
        try:
            yield from self._clean(number, pieces)
        except (SpanError, ObjectStoreError) as error:
            # Not raised: Beam would hide the message in a trace. The plan raises it, in the caller's process.
            yield Summary(number, error=str(error))

    def _clean(self, number: int, pieces: tuple[FilePiece, ...]) -> Iterator[Summary]:
        _, read = reader_of(self._settings.format)
        summary = Summary(number)
        events: list[pa.RecordBatch] = []
        hashes: list[np.ndarray] = []
        rejects: list[str] = []
        for piece in pieces:
            for raw in read(piece, self._settings.columns):
                clean, problems = check(raw, self._settings, self._window, self._forgotten)
                summary.read += len(raw.rows) + len(raw.malformed)
                summary.see(raw.present, self._settings.columns)
                summary.count(piece.name, problems)
                summary.unite({name: raw.kinds.get(name, "bytes") for name in self._settings.context})
                add(summary.feature_counts, counted(clean, self._settings.query_features))
                rejects.append(reject_lines(piece.name, problems))
                if clean.num_rows:
                    summary.events += clean.num_rows
                    events.append(clean)
                    hashes.append(hash_events(clean))
                if summary.read >= SHARD_ROWS:
                    write_shard(self._folder, summary, events, hashes, "".join(rejects))
                    yield summary
                    summary, events, hashes, rejects = Summary(number, summary.part + 1), [], [], []
        if summary.read:
            write_shard(self._folder, summary, events, hashes, "".join(rejects))
            yield summary
