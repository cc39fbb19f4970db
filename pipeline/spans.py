"""Span numbers, the days they stand for, and which spans have been delivered."""

from __future__ import annotations

import dataclasses
import datetime
import re
from pathlib import Path

EPOCH = datetime.date(1970, 1, 1)
_TOKENS = {"{YYYY}": r"(?P<year>\d{4})", "{MM}": r"(?P<month>\d{2})", "{DD}": r"(?P<day>\d{2})"}


class SpanNameError(ValueError):
    """A span's name can't be read; the message says the form."""


@dataclasses.dataclass(frozen=True)
class Naming:
    """How the spans of one pipeline are written: as days, or as plain numbers."""

    dated: bool

    def parse(self, name: str) -> int:
        """The number of the span called `name`.

        Raises:
          SpanNameError: `name` is not a date like 2024-05-03, or not a number, as the pattern asks.
        """
        if self.dated:
            try:
                if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", name):
                    raise ValueError
                return (datetime.date.fromisoformat(name) - EPOCH).days
            except ValueError:
                raise SpanNameError(f"`span` must be a date like 2024-05-03. Received: {name!r}.") from None
        if not name.isdecimal():
            raise SpanNameError(f"`span` must be a number like 42. Received: {name!r}.")
        return int(name)

    def format(self, span: int) -> str:
        return (EPOCH + datetime.timedelta(days=span)).isoformat() if self.dated else str(span)

    def version(self, span: int, revision: int) -> int:
        """The version in TF Serving's folder: the day, or the number, and a two-digit revision."""
        if not 1 <= revision <= 99:
            raise SpanNameError(
                f"A span can have the revisions 1 to 99. Received: {revision} for {self.format(span)}. Start a new "
                "pipeline root to run it once more."
            )
        return int(f"{self.format(span).replace('-', '')}{revision:02d}")


def delivered(path: Path, pattern: str) -> list[int]:
    """Spans that have at least one file, in order.

    Args:
      path: folder that holds the spans.
      pattern: as in `data.pattern`; where it names a version, a delivery without one counts too.
    """
    spans: set[int] = set()
    for variant in {pattern, re.sub(r"[^/{}]*\{VERSION(:\d+)?\}[^/{}]*/", "", pattern)}:
        expression = re.compile(_expression(variant))
        for file in path.glob(re.sub(r"(\{[A-Z]+(:\d+)?\}|\*)+", "*", variant)):
            match = expression.fullmatch(str(file.relative_to(path)))
            if match is not None and file.is_file():
                spans |= _span_of(match.groupdict())
    return sorted(spans)


def _span_of(parts: dict[str, str]) -> set[int]:
    if "span" in parts:
        return {int(parts["span"])}
    try:
        return {(datetime.date(int(parts["year"]), int(parts["month"]), int(parts["day"])) - EPOCH).days}
    except ValueError:
        return set()  # a folder like 2024-13-01 is no day


def _expression(pattern: str) -> str:
    parts: list[str] = []
    for part in re.split(r"(\{[A-Z]+(?::\d+)?\}|\*)", pattern):
        if part in _TOKENS:
            # A date may be written twice, in the folder and in the file's name.
            name = _TOKENS[part].split("<")[1].split(">")[0]
            parts.append(f"(?P={name})" if any(f"<{name}>" in expression for expression in parts) else _TOKENS[part])
        elif part.startswith("{SPAN"):
            parts.append(r"(?P=span)" if any("<span>" in expression for expression in parts) else r"(?P<span>\d+)")
        elif part.startswith("{VERSION"):
            parts.append(
                r"(?P=version)" if any("<version>" in expression for expression in parts) else r"(?P<version>\d+)"
            )
        else:
            parts.append("[^/]*" if part == "*" else re.escape(part))
    return "".join(parts)
