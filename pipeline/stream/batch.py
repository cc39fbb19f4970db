"""What has landed, cut into mini-batches: files of one span in their order, a large one in several."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from components.span_example_gen.settings import Settings
from components.span_transform.events import schema_of
from pipeline.stream.file_events import FileEvents, read_events
from pipeline.stream.journal import Journal, Part
from pipeline.stream.landed import LandedFile

_log = logging.getLogger("warmspan.stream")


@dataclasses.dataclass(frozen=True)
class Batch:
    """A mini-batch: events (`span_transform.events.schema_of`) of a span by time, and the parts of files they are.

    `seconds`: how long it took to read.
    """

    events: pa.Table
    span: int
    parts: tuple[Part, ...]
    seconds: float


class Batches:
    """Reads files whole and gives them out in mini-batches of at most `most` events."""

    def __init__(self, settings: Settings, most: int) -> None:
        self._settings, self._most = settings, most
        self._begun: dict[str, FileEvents] = {}

    def next(self, landed: Sequence[LandedFile], journal: Journal) -> Batch:
        """The next of what has `landed`, one file at least, after what the `journal` says was taken."""
        left, tables, parts, began = self._most, [], [], time.perf_counter()
        names = {digest: name for name, digest in journal.read().items()}
        for file in landed:
            if left <= 0 or file.span != landed[0].span:
                break
            if (twin := names.setdefault(file.digest, file.name)) != file.name:
                parts.append(Part(file.span, file.name, file.digest, 0, 0, 0, refused=f"The same as {twin}."))
                continue
            of_file, begin = self._read(file), journal.offset(file.name)
            events = of_file.events.slice(begin, left)
            parts.append(_part(of_file, begin, begin + len(events)))
            tables.append(events)
            left -= len(events)
            if parts[-1].whole:
                del self._begun[file.name]
        every = pa.concat_tables([schema_of(self._settings.query_features).empty_table(), *tables])
        in_order = every.take(pa.array(np.argsort(every["timestamp"].to_numpy(), kind="stable"))).combine_chunks()
        return Batch(in_order, landed[0].span, tuple(parts), round(time.perf_counter() - began, 3))

    def forget(self) -> None:
        """Forgets what was read and not given out."""
        self._begun.clear()

    def _read(self, file: LandedFile) -> FileEvents:
        if file.name not in self._begun:
            self._begun[file.name] = read_events(file, self._settings)
            if refused := self._begun[file.name].refused:
                _log.warning("%s is not learned from. %s", file.name, refused)
        return self._begun[file.name]


def _part(of_file: FileEvents, begin: int, end: int) -> Part:
    """The balance of a file stands with its first part."""
    file, first = of_file.file, begin == 0
    return Part(
        span=file.span,
        name=file.name,
        digest=file.digest,
        begin=begin,
        end=end,
        events=len(of_file.events),
        rows=of_file.rows if first else 0,
        rejects=of_file.rejects if first else {},
        duplicates=of_file.duplicates if first else 0,
        refused=of_file.refused,
    )
