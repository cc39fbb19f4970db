"""The time that a span is of, and what becomes of events outside."""

from __future__ import annotations

import dataclasses

import numpy as np

REJECT, ACCEPT = "reject", "accept"
LATE, EARLY, OUTSIDE_SPAN = "late", "early", "outside_span"
_HOUR = 3_600_000
_DAY = 24 * _HOUR
# What is further away was not late: its time is wrong, or read in a wrong unit.
_LATEST, _EARLIEST = 366 * _DAY, _DAY
_1980 = 315_532_800_000


@dataclasses.dataclass(frozen=True)
class SpanWindow:
    """The span's own time `[start, end)`, and what is not absurd `[earliest, latest)`, in unix milliseconds."""

    start: int
    end: int
    earliest: int
    latest: int

    @classmethod
    def of(cls, span: int, hours: float, dated: bool) -> SpanWindow:
        """Of a span's number: days since 1970 where it is dated, else counted in its own length."""
        start = span * _DAY if dated else round(span * hours * _HOUR)
        end = start + round(hours * _HOUR)
        return cls(start, end, start - _LATEST, end + _EARLIEST)

    @classmethod
    def any_time(cls, span: int) -> SpanWindow:
        """Of a dated span that holds what it likes: all times in which events are collected, up to a year after it."""
        end = (span + 1) * _DAY + _LATEST
        return cls(_1980, end, _1980, end)

    def late(self, millis: np.ndarray) -> np.ndarray:
        """Which times are of an earlier span and not absurd, bool [n]."""
        return (millis < self.start) & (millis >= self.earliest)

    def early(self, millis: np.ndarray) -> np.ndarray:
        """Which times are of a later span, as clocks that are ahead give them, bool [n]."""
        return (millis >= self.end) & (millis < self.latest)

    def outside(self, millis: np.ndarray, late: str) -> dict[str, np.ndarray]:
        """What is kept out, bool [n] by reason; with `late` `accept` that is only what is absurd."""
        kept_out = {OUTSIDE_SPAN: (millis < self.earliest) | (millis >= self.latest)}
        if late == REJECT:
            kept_out |= {LATE: self.late(millis), EARLY: self.early(millis)}
        return kept_out
