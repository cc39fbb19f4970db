"""What became of every row of a span: none is dropped in silence."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Balance:
    """rows = events + duplicates + all rejects.

    Attributes:
      rows: read.
      events: kept, some of which may be `known`, `late` or `early`.
      rejects: by reason.
      duplicates: of an event of the same span.
      known: of the kept ones, those that an earlier span had brought and that are not learned again.
      late, early: of the kept ones, those from before and after the span's own time.
    """

    rows: int
    events: int
    rejects: Mapping[str, int]
    duplicates: int
    known: int
    late: int
    early: int

    @classmethod
    def of(cls, events: Mapping[str, Any], sequences: Mapping[str, Any]) -> Balance | None:
        """From the properties of the span's events and sequences; None before it was ingested."""
        if "rejects" not in events:
            return None
        kept, duplicates = events["events"], events.get("duplicates", 0)
        # An earlier version did not count rows: they were all that is counted.
        return cls(
            rows=events.get("rows", kept + events["rejects"] + duplicates),
            events=kept,
            rejects=json.loads(events.get("reject_reasons", "{}")),
            duplicates=duplicates,
            known=sequences.get("known_events", 0),
            late=events.get("late", 0),
            early=events.get("early", 0),
        )

    @property
    def rejected(self) -> int:
        """All rejects."""
        return sum(self.rejects.values())

    @property
    def missing(self) -> int:
        """Rows that nothing accounts for: 0, or there is a fault."""
        return self.rows - self.events - self.duplicates - self.rejected

    def __str__(self) -> str:
        """In words, without what is nought: `1,000 rows: 940 events (12 late), 40 no_key, 20 duplicates`."""
        among = {"known": self.known, "late": self.late, "early": self.early}
        of_these = ", ".join(f"{count:,} {name}" for name, count in among.items() if count)
        parts = [f"{self.events:,} events" + (f" ({of_these})" if of_these else "")]
        by_count = sorted(self.rejects.items(), key=lambda entry: (-entry[1], entry[0]))
        parts += [f"{count:,} {reason}" for reason, count in by_count if count]
        parts += [f"{self.duplicates:,} duplicates"] if self.duplicates else []
        parts += [f"{self.missing:,} unaccounted for"] if self.missing else []
        return f"{self.rows:,} rows: {', '.join(parts)}"
