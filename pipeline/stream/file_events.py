"""A landed file to clean events: the readers and the checks of `SpanExampleGen`."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa

from components.span_example_gen.checks import check, no_events
from components.span_example_gen.dedup_and_split import DUPLICATE, select
from components.span_example_gen.errors import SpanError
from components.span_example_gen.files import with_rows
from components.span_example_gen.hashing import hash_events
from components.span_example_gen.readers.registry import reader_of
from components.span_example_gen.settings import Settings
from components.span_example_gen.shards import Summary
from components.span_example_gen.write_plan import IngestSummary
from components.span_transform.events import schema_of
from components.suppression_list import SuppressionList
from pipeline.stream.landed import LandedFile


@dataclasses.dataclass(frozen=True)
class FileEvents:
    """What is in a file.

    Attributes:
      file: which.
      events: `[n]` (`span_transform.events.schema_of`), in the order of their times, none twice.
      rows: that were read: events, rejects and duplicates.
      rejects: by reason.
      duplicates: events that are the same in all columns as an earlier one of the file.
      refused: why the whole file is not learned from; else empty, as `events` is then.
    """

    file: LandedFile
    events: pa.Table
    rows: int = 0
    rejects: dict[str, int] = dataclasses.field(default_factory=dict)
    duplicates: int = 0
    refused: str = ""


def read_events(file: LandedFile, settings: Settings) -> FileEvents:
    """Reads a file whole. One that ingestion would refuse is refused here too, and says why."""
    schema = schema_of(settings.query_features)
    try:
        summary, batches = _read(file, settings)
    except (SpanError, OSError) as error:
        return FileEvents(file, schema.empty_table(), refused=str(error))
    events = pa.Table.from_batches(batches or [no_events(settings)])
    counts = {"events": summary.events, "rejects": sum(summary.reasons.values())}
    verdict = IngestSummary(read=summary.read, counts=counts, reasons=summary.reasons, examples=summary.examples)
    if verdict.refused(settings.max_reject_fraction):
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(summary.reasons.items()))
        refused = (
            f"A file must not have more rejected rows than `data.max_reject_fraction`, {settings.max_reject_fraction:g}"
            f". Received: {counts['rejects']:,} of {summary.read:,} ({reasons})."
        )
        return FileEvents(file, schema.empty_table(), summary.read, dict(summary.reasons), refused=refused)
    hashes = np.concatenate([np.zeros((0, 2), np.uint64), *(hash_events(batch) for batch in batches)])
    times = events["timestamp"].to_numpy()
    kept = np.flatnonzero(select(hashes, times, 0.0) != DUPLICATE)
    in_order = kept[np.argsort(times[kept], kind="stable")]
    chosen = events.select(schema.names).cast(schema).take(pa.array(in_order)).combine_chunks()
    return FileEvents(file, chosen, summary.read, dict(summary.reasons), len(events) - len(kept))


def _read(file: LandedFile, settings: Settings) -> tuple[Summary, list[pa.RecordBatch]]:
    plan, read = reader_of(settings.format)
    # Who was forgotten may have been so since the last file.
    window, forgotten = settings.window(file.span), SuppressionList.load(settings.forgotten)
    summary, batches = Summary(0), []
    for path, name in with_rows([(file.path, file.name)]):
        for piece in plan(path, name, settings.required_columns):
            for raw in read(piece, settings.columns):
                clean, rejects = check(raw, settings, window, forgotten)
                summary.read += len(raw.rows) + len(raw.malformed)
                summary.count(file.name, rejects)
                summary.events += clean.num_rows
                if clean.num_rows:
                    batches.append(clean)
    return summary, batches
