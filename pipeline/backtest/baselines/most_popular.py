"""The items with the most events in the last spans, the same list for everybody."""

from __future__ import annotations

import collections

import numpy as np

from pipeline.backtest.baselines.base import Baseline, Scores, grown, new_items, none_of_its_own
from trainer.input_pipeline import Positions, Sequences


class MostPopular(Baseline):
    """Items by how many events they had in the last `spans` spans. Keeps a count an item and span."""

    def __init__(self, spans: int) -> None:
        self.name = f"most popular, {spans} spans"
        self._counts: collections.deque[np.ndarray] = collections.deque(maxlen=spans)

    def learn(self, past: Sequences) -> None:
        self._counts.append(np.bincount(new_items(past)).astype(np.float64))

    def scores(self, asked: Positions, items: int) -> Scores:
        total = np.zeros(items)
        for counts in self._counts:
            total += grown(counts, items)
        return Scores(none_of_its_own(len(asked), items), total)
