"""What became of the catalogue of a span: rows read, and what they have changed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

_CHANGES = ("added", "changed", "returned", "withdrawn")


@dataclasses.dataclass(frozen=True)
class CatalogueBalance:
    """rows + waited = kept + all rejects + repeats + waiting (see `CatalogueGen`).

    Attributes:
      rows, kept, repeats: rows read, those that say what holds of an item, and those that another of it took over.
      waited, waiting: rows that were there from before, and that hold from a later day.
      rejects: by reason.
      items: which are sold.
      changes: items that were added, changed, returned or withdrawn, by these words.
    """

    rows: int
    kept: int
    repeats: int
    waited: int
    waiting: int
    rejects: Mapping[str, int]
    items: int
    changes: Mapping[str, int]

    @classmethod
    def of(cls, catalogue: Mapping[str, Any]) -> CatalogueBalance | None:
        """From the properties of a span's catalogue; None without one."""
        if "items" not in catalogue:
            return None
        counts = {name: catalogue[name] for name in ("rows", "kept", "repeats", "waited", "waiting", "items")}
        rejects = json.loads(catalogue["reject_reasons"])
        return cls(**counts, rejects=rejects, changes={name: catalogue[name] for name in _CHANGES})

    @property
    def missing(self) -> int:
        """Rows that nothing accounts for: 0, or there is a fault."""
        return self.rows + self.waited - self.kept - sum(self.rejects.values()) - self.repeats - self.waiting

    def __str__(self) -> str:
        """In words, without what is nought: `1,000 items sold, 3 added, 1 withdrawn (of 1,004 rows, 4 no_item)`."""
        changes = [f"{count:,} {name}" for name, count in self.changes.items() if count]
        of_rows = {**self.rejects, "repeated": self.repeats, "to hold later": self.waiting, "lost": self.missing}
        rows = [f"of {self.rows:,} rows", *(f"{count:,} {name}" for name, count in of_rows.items() if count)]
        return f"{', '.join([f'{self.items:,} items sold', *changes])} ({', '.join(rows)})"
