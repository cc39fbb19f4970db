"""What a stream has read and what came of it: an entry a mini-batch, in the order in which they were learned."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

JOURNAL_FILE = "journal.json"

Outcome = Literal["pushed", "learned", "thrown away", "back to the champion", "nothing to learn", "not fit"]


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a file: its events from `begin` to before `end`, of `events` in all, by time.

    `refused`: why none of it is learned; else empty.
    """

    span: int
    name: str
    digest: str
    begin: int
    end: int
    events: int
    rows: int = 0
    rejects: Mapping[str, int] = dataclasses.field(default_factory=dict)
    duplicates: int = 0
    refused: str = ""

    @property
    def whole(self) -> bool:
        """Whether nothing of the file is left to be read."""
        return self.end >= self.events


@dataclasses.dataclass(frozen=True)
class Entry:
    """A mini-batch.

    Attributes:
      number: from 1, since the stream began with the champion.
      time: when it was decided, in seconds since 1970.
      parts: what of which files it was.
      learned: new positions that were learned.
      judging: events that were added to those that judge.
      known: events that had been brought before.
      outcome: what was done with the copy.
      version: that was pushed; 0 for none.
      against_before, against_champion: the comparisons, in words.
      seconds: by step.
    """

    number: int
    time: float
    parts: tuple[Part, ...]
    learned: int
    judging: int
    known: int
    outcome: Outcome
    version: int = 0
    against_before: str = ""
    against_champion: str = ""
    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Journal:
    """Everything since the stream began with the champion.

    Attributes:
      identity, base: of the champion and the settings; its version.
      version: that is served of the stream; 0 for none.
      entries: in order.
    """

    identity: str
    base: int
    version: int = 0
    entries: tuple[Entry, ...] = ()

    @functools.cached_property
    def last_parts(self) -> Mapping[str, Part]:
        """The last part that was taken of every file, by name."""
        return {part.name: part for entry in self.entries for part in entry.parts}

    def read(self) -> dict[str, str]:
        """The digest of every file that was read, in part or whole, by name."""
        return {name: part.digest for name, part in self.last_parts.items()}

    def offset(self, name: str) -> int:
        """How many events of a file were taken."""
        return self.last_parts[name].end if name in self.last_parts else 0

    def unfinished(self) -> set[str]:
        """Names of files of which a part is left."""
        return {name for name, part in self.last_parts.items() if not part.whole}

    def with_entry(self, entry: Entry) -> Journal:
        served = entry.version if entry.version else 0 if entry.outcome == "back to the champion" else self.version
        return dataclasses.replace(self, entries=(*self.entries, entry), version=served)

    def save(self, folder: Path) -> None:
        (folder / JOURNAL_FILE).write_text(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def load(cls, folder: Path) -> Journal:
        raw: dict[str, Any] = json.loads((folder / JOURNAL_FILE).read_text())
        entries = tuple(
            Entry(**{**entry, "parts": tuple(Part(**part) for part in entry["parts"])}) for entry in raw.pop("entries")
        )
        return cls(**raw, entries=entries)
