"""Running statistics of a number: what it is normalised by, from day to day, without the days before."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from trainer.atomic_write import atomic_write

KNOTS = 16
_KEPT = 512  # values that a summary holds; up to so many different ones it is exact
_FAR = np.float32(1e30)


@dataclasses.dataclass(frozen=True, eq=False)
class NumberStatistics:
    """A summary of all values so far: in ascending order, float64 [n], each with how many it stands for."""

    values: np.ndarray
    counts: np.ndarray

    @classmethod
    def empty(cls) -> NumberStatistics:
        return cls(np.zeros(0), np.zeros(0))

    def add(self, values: np.ndarray, times: np.ndarray | None = None) -> NumberStatistics:
        """The summary after more values, each so many `times`, once without; what is not finite is passed over."""
        finite = np.isfinite(values)
        every = np.concatenate([self.values, values[finite].astype(np.float64)])
        unique, place = np.unique(every, return_inverse=True)
        each = np.ones(int(finite.sum())) if times is None else times[finite]
        counts = np.bincount(place, np.concatenate([self.counts, each]), len(unique))
        return NumberStatistics(*_summarised(unique, counts))

    def knots(self) -> np.ndarray:
        """Where the number's scale is cut: quantiles, float32 [KNOTS] ascending, and 1e30 on where there are fewer.

        NaN throughout without any value.
        """
        if not len(self.values):
            return np.full(KNOTS, np.nan, np.float32)
        middle = np.cumsum(self.counts) - self.counts / 2
        shares = np.linspace(0.0, self.counts.sum(), KNOTS)
        knots = np.unique(np.interp(shares, middle, self.values).astype(np.float32))
        return np.concatenate([knots, _FAR * np.arange(1, KNOTS - len(knots) + 1, dtype=np.float32)])

    def save(self, path: Path) -> None:
        with atomic_write(path) as beside:
            beside.write_text(json.dumps({"values": self.values.tolist(), "counts": self.counts.tolist()}))

    @classmethod
    def load(cls, path: Path) -> NumberStatistics:
        """Reads what `save` wrote; without a file, an empty one."""
        if not path.exists():
            return cls.empty()
        raw = json.loads(path.read_text())
        return cls(np.array(raw["values"], np.float64), np.array(raw["counts"], np.float64))


def _summarised(values: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most `_KEPT` values: neighbours become their mean, about as many of all in each; the ends stay."""
    if len(values) <= _KEPT:
        return values, counts
    middle = np.cumsum(counts) - counts / 2
    group = 1 + np.minimum((middle / counts.sum() * (_KEPT - 2)).astype(int), _KEPT - 3)
    group[0], group[-1] = 0, _KEPT - 1
    _, group = np.unique(group, return_inverse=True)
    total = np.bincount(group, counts)
    return np.bincount(group, counts * values) / total, total
