"""What became of the catalogue's texts in a span: encoded, or as they were."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class EncodingBalance:
    """encoded + reused texts, and missing ones, are all of the catalogue's items (see `ItemEncoder`).

    Attributes:
      text: the name of the feature.
      encoded, reused, missing: items whose text was encoded, had a vector already, or that have none.
      another: whether another encoder has made the vectors of the day before.
      revision: the first digits of the tuned revision that encodes; empty for an encoder as it is.
    """

    text: str
    encoded: int
    reused: int
    missing: int
    another: bool
    revision: str = ""

    @classmethod
    def of_all(cls, encodings: Iterable[Mapping[str, Any]]) -> tuple[EncodingBalance, ...]:
        """From the properties of a span's encodings, oldest first; of a text that was encoded again the last counts."""
        by_text = {
            of["text"]: cls(
                **{name: of[name] for name in ("text", "encoded", "reused", "missing")},
                another=bool(of.get("replaced_encoder")),
                revision=of.get("revision", ""),
            )
            for of in encodings
        }
        return tuple(by_text[text] for text in sorted(by_text))

    def __str__(self) -> str:
        """In words: `title: 12 encoded, 1,200 as before, 3 missing; by another encoder than before`."""
        counts = {"encoded": self.encoded, "as before": self.reused, "missing": self.missing}
        parts = [f"{count:,} {name}" for name, count in counts.items() if count or name == "encoded"]
        by = "; by another encoder than before" * self.another
        if self.revision:
            by = f"; by {'another ' * self.another}tuned revision{' than before,' * self.another} {self.revision}"
        return f"{self.text}: {', '.join(parts)}{by}"
