"""Ids that are looked for, and what counts as one of them."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Collection, Iterable

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

    def in_value(self, value: bytes) -> int:
        """How often one value of a table or a message is, or names, one of them."""
        return int(value in self.numbers) + self.in_text(value)

    def in_text(self, text: bytes) -> int:
        """How often a text names one of them that is no short number."""
        return len(self.pattern.findall(text)) if self.pattern else 0

    def in_page(self, text: bytes) -> int:
        """How often a log or a page names one of them, numbers as words too."""
        return self.in_text(text) + (len(self.words.findall(text)) if self.words else 0)

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
