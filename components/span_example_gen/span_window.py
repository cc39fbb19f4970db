"""The time that a span is of, and what becomes of events outside."""

from __future__ import annotations

import dataclasses

import numpy as np

REJECT, ACCEPT = "reject", "accept"
LATE, EARLY, OUTSIDE_SPAN = "late", "early", "outside_span"
_HOUR = 3_600_000
# What is further away was not late: its time is wrong, or read in a wrong unit.
_LATEST, _EARLIEST = 366 * 24 * _HOUR, 24 * _HOUR


@dataclasses.dataclass(frozen=True)
class SpanWindow:
    """`[start, end)` in unix milliseconds."""

    start: int
    end: int

    @classmethod
    def of(cls, span: int, hours: float, dated: bool) -> SpanWindow:
        """Of a span's number: days since 1970 where it is dated, else counted in its own length."""
        start = span * 24 * _HOUR if dated else round(span * hours * _HOUR)
        return cls(start, start + round(hours * _HOUR))

    def late(self, millis: np.ndarray) -> np.ndarray:
        """Which times are of an earlier span and not absurd, bool [n]."""
        return (millis < self.start) & (millis >= self.start - _LATEST)

    def early(self, millis: np.ndarray) -> np.ndarray:
        """Which times are of a later span, as clocks that are ahead give them, bool [n]."""
        return (millis >= self.end) & (millis < self.end + _EARLIEST)

    def outside(self, millis: np.ndarray, late: str) -> dict[str, np.ndarray]:
        """What is kept out, bool [n] by reason; with `late` `accept` that is only what is absurd."""
        absurd = (millis < self.start - _LATEST) | (millis >= self.end + _EARLIEST)
        kept_out = {OUTSIDE_SPAN: absurd}
        if late == REJECT:
            kept_out |= {LATE: self.late(millis), EARLY: self.early(millis)}
        return kept_out
