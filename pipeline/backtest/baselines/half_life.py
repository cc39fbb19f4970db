"""Popularity in which an event counts the less the older it is."""

from __future__ import annotations

from typing import Literal

import numpy as np

from pipeline.backtest.baselines.base import Baseline, Scores, grown, none_of_its_own
from trainer.input_pipeline import Positions, Sequences

Unit = Literal["days", "hours"]
_MILLISECONDS: dict[Unit, float] = {"days": 86_400_000.0, "hours": 3_600_000.0}


class HalfLifePopularity(Baseline):
    """Items by the sum over their events of 2^(-age / half_life). Keeps a number an item.

    The order of the items does not depend on the moment that ages are counted from: it is that of the newest event.

    Args:
      half_life: in `unit`.
      unit: days, or hours.
    """

    def __init__(self, half_life: float, unit: Unit) -> None:
        self.name = f"most popular, half-life {half_life:g} {unit}"
        self._half_life = half_life * _MILLISECONDS[unit]
        self._counts, self._newest = np.zeros(0), 0

    def learn(self, past: Sequences) -> None:
        events = past.positions()
        if not len(events):
            return
        newest = max(self._newest, int(events.timestamp.max()))
        weight = 0.5 ** ((newest - events.timestamp) / self._half_life)
        learned = np.bincount(events.target, weight)
        before = self._counts * 0.5 ** ((newest - self._newest) / self._half_life)
        size = max(len(learned), len(before))
        self._counts, self._newest = grown(before, size) + grown(learned, size), newest

    def scores(self, asked: Positions, items: int) -> Scores:
        return Scores(none_of_its_own(len(asked), items), self.popularity(items))

    def popularity(self, items: int) -> np.ndarray:
        """float64 [items]."""
        return grown(self._counts, items)
