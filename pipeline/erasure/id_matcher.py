"""Ids that are looked for, what counts as one of them, and what stands in its place then."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Collection, Iterable

STAND_IN = b"[forgotten]"
_LONG_NUMBER = 10


@dataclasses.dataclass(frozen=True)
class IdMatcher:
    """Ids to look for.

    An id that is a short number can't be told from any other number in running text: it is looked for only where a
    format says that a value is an id, and as a word in logs and pages.

    Attributes:
      ids: all of them.
      numbers: those that are short numbers.
      pattern: what finds the others in text, where no letter or digit touches them; None without any.
      words: what finds the numbers as words.
    """

    ids: frozenset[bytes]
    numbers: frozenset[bytes]
    pattern: re.Pattern[bytes] | None
    words: re.Pattern[bytes] | None

    @classmethod
    def of(cls, ids: Iterable[bytes]) -> IdMatcher:
        all_ids = frozenset(ids)
        numbers = frozenset(id_ for id_ in all_ids if id_.isdigit() and len(id_) < _LONG_NUMBER)
        return cls(all_ids, numbers, _expression(all_ids - numbers), _expression(numbers))

    def redact_text(self, text: bytes) -> tuple[bytes, int]:
        """A text without those that are no short numbers, and how often it named them."""
        return self.pattern.subn(STAND_IN, text) if self.pattern else (text, 0)

    def redact_value(self, value: bytes) -> tuple[bytes, int]:
        """One value of a table or a message without them, and how often it was, or named, one of them."""
        return (STAND_IN, 1) if value in self.numbers else self.redact_text(value)

    def in_text(self, text: bytes) -> int:
        """How often `redact_text` would take one of them out."""
        return self.redact_text(text)[1]

    def in_value(self, value: bytes) -> int:
        """How often `redact_value` would take one of them out."""
        return self.redact_value(value)[1]

    def numbers_in(self, text: bytes) -> int:
        """How often a text has a word that is one of the short numbers."""
        return len(self.words.findall(text)) if self.words else 0

    def in_bytes(self, data: bytes) -> int:
        """How often one that is no short number stands in bytes that may touch it on either side."""
        return sum(data.count(id_) for id_ in self.ids - self.numbers)


def _spellings(id_: bytes) -> set[bytes]:
    """The id as files may have it: as it is, and as JSON writes it, read as UTF-8 or byte for byte."""
    spellings = {id_}
    for encoding in ("utf-8", "latin-1"):
        try:
            text = id_.decode(encoding)
        except UnicodeDecodeError:
            continue
        spellings |= {json.dumps(text)[1:-1].encode(), json.dumps(text, ensure_ascii=False)[1:-1].encode(encoding)}
    return spellings


def _expression(ids: Collection[bytes]) -> re.Pattern[bytes] | None:
    parts = []
    for spelling in sorted({form for id_ in ids for form in _spellings(id_)}, key=len, reverse=True):
        before = rb"(?<![0-9A-Za-z])" if spelling[:1].isalnum() else b""
        after = rb"(?![0-9A-Za-z])" if spelling[-1:].isalnum() else b""
        parts.append(before + re.escape(spelling) + after)
    return re.compile(b"|".join(parts)) if parts else None
