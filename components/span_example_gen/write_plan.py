"""Between the halves, once a span: is it good enough, what is a duplicate, where is it cut."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence

import numpy as np

from components.span_example_gen.checks import no_events
from components.span_example_gen.dedup_and_split import DUPLICATE, EVAL, TRAIN, select
from components.span_example_gen.event_features import add, kinds_of
from components.span_example_gen.files import write_file
from components.span_example_gen.readers.raw_batch import Kind
from components.span_example_gen.readers.required_columns import ColumnsError, require_columns
from components.span_example_gen.settings import Settings
from components.span_example_gen.shards import (
    EXAMPLES_KEPT,
    Summary,
    read_index,
    united_kinds,
    write_choice,
    write_shard,
)
from components.span_example_gen.span_window import SpanWindow
from components.suppression_list import FORGOTTEN

SPLITS = {"train": TRAIN, "eval": EVAL}
VERDICT = "verdict.json"
KINDS: dict[str, Kind] = {"key": "bytes", "item": "bytes", "timestamp": "int", "weight": "float"}


@dataclasses.dataclass
class IngestSummary:
    """What became of a span. With `error` set, or with too many rejects or no events, nothing is written."""

    error: str = ""
    read: int = 0
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    reasons: dict[str, int] = dataclasses.field(default_factory=dict)
    examples: dict[str, list[tuple[str, int, str]]] = dataclasses.field(default_factory=dict)
    shards: list[str] = dataclasses.field(default_factory=list)
    files: list[str] = dataclasses.field(default_factory=list)
    feature_counts: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)

    def refused(self, max_reject_fraction: float) -> bool:
        # Who was forgotten says nothing about the files.
        forgotten = self.reasons.get(FORGOTTEN, 0)
        read, rejects = self.read - forgotten, self.counts["rejects"] - forgotten
        # A span without a row is one on which nothing happened.
        return self.read > 0 and (self.counts["events"] == 0 or rejects > max_reject_fraction * read)


@dataclasses.dataclass(frozen=True)
class WriteTask:
    """Writes the chosen events of a shard: split name to file, below the folder of the splits."""

    shard: str
    files: dict[str, str]
    kinds: dict[str, Kind]


def plan(
    summaries: Sequence[Summary], settings: Settings, window: SpanWindow | None, folder: str
) -> Iterator[WriteTask]:
    """Leaves the verdict in `folder` and yields what is to be written, nothing for a refused span."""
    summaries = sorted(summaries, key=lambda summary: (summary.task, summary.part))
    names = [summary.name for summary in summaries if not summary.error]
    verdict = IngestSummary(shards=names, read=sum(summary.read for summary in summaries))
    verdict.error = next((summary.error for summary in summaries if summary.error), "")
    _add_up(verdict, summaries)
    if not verdict.error:
        verdict.error = _missing_columns(summaries, settings)
    tasks: list[WriteTask] = []
    if not verdict.error and not verdict.refused(settings.max_reject_fraction):
        tasks = _tasks(verdict, summaries, settings, window, folder)
    write_file(os.path.join(folder, VERDICT), json.dumps(dataclasses.asdict(verdict)).encode("utf-8"))
    yield from tasks


def _add_up(verdict: IngestSummary, summaries: Sequence[Summary]) -> None:
    for summary in summaries:
        add(verdict.feature_counts, summary.feature_counts)
        for reason, count in summary.reasons.items():
            verdict.reasons[reason] = verdict.reasons.get(reason, 0) + count
        for reason, examples in summary.examples.items():
            kept = verdict.examples.setdefault(reason, [])
            kept += examples[: EXAMPLES_KEPT - len(kept)]
    verdict.counts = {
        "rows": verdict.read,
        "events": sum(summary.events for summary in summaries),
        "rejects": sum(verdict.reasons.values()),
    }


def _missing_columns(summaries: Sequence[Summary], settings: Settings) -> str:
    """A column that no record of the span has: the settings, and not the records, are wrong."""
    present = set[str]().union(*(summary.present for summary in summaries))
    if present and settings.format in ("jsonl", "tfrecord"):
        try:
            require_columns("The records of the span", settings.required_columns, sorted(present))
        except ColumnsError as error:
            return str(error)
    return ""


def _tasks(
    verdict: IngestSummary, summaries: Sequence[Summary], settings: Settings, window: SpanWindow | None, folder: str
) -> list[WriteTask]:
    if not summaries:
        summaries = [Summary(0)]
        verdict.shards = [summaries[0].name]
        write_shard(folder, summaries[0], [no_events(settings)], [np.zeros((0, 2), np.uint64)], "")
    hashes, times = read_index(folder, verdict.shards)
    choice = select(hashes, times, settings.eval_fraction)
    train, held_out = (int((choice == side).sum()) for side in (TRAIN, EVAL))
    kept = times[choice != DUPLICATE]
    verdict.counts |= {
        "events": train + held_out,
        "train_events": train,
        "eval_events": held_out,
        "duplicates": int((choice == DUPLICATE).sum()),
        "late": 0 if window is None else int(window.late(kept).sum()),
        "early": 0 if window is None else int(window.early(kept).sum()),
    }
    kinds = {**KINDS, **united_kinds([summary.kinds for summary in summaries]), **kinds_of(settings.query_features)}
    parts = np.split(choice, np.cumsum([summary.events for summary in summaries])[:-1])
    filled = {
        split: [name for name, part in zip(verdict.shards, parts, strict=True) if (part == side).any()]
        or verdict.shards[:1]
        for split, side in SPLITS.items()
    }
    tasks = []
    for name, part in zip(verdict.shards, parts, strict=True):
        # A split without events still gets its one empty file: readers take a folder without files for a mistake.
        files = {
            split: f"Split-{split}/data_tfrecord-{shards.index(name):05d}-of-{len(shards):05d}.gz"
            for split, shards in filled.items()
            if name in shards
        }
        if files:
            write_choice(folder, name, part)
            tasks.append(WriteTask(name, files, kinds))
            verdict.files += files.values()
    return tasks
