"""Span numbers, and the days they stand for."""

from __future__ import annotations

import dataclasses
import datetime
import re

from components.data_files import EPOCH


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
