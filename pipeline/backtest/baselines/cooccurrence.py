"""What occurs close to the last item, counted."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from pipeline.backtest.baselines.base import Baseline, Scores
from pipeline.backtest.baselines.half_life import HalfLifePopularity
from pipeline.backtest.baselines.row_top import top_of_rows
from trainer.input_pipeline import Positions, Sequences

REACH = 10  # events; what lies further apart is not counted as together


class Cooccurrence(Baseline):
    """Items by how often they stood at most 10 events from the history's last item, in either order.

    The association rules of Ludewig and Jannach ("Evaluation of session-based recommendation algorithms", UMUAI 28,
    2018, section 3.1), for pairs that are close. An item is not together with itself. Behind them comes what is
    popular.

    Args:
      pairs_per_item: after each span so many items are kept of each, the most counted; of two that are counted as often
        the one with the lower row. Memory is bounded by items times this.
      popularity: of the others.
    """

    name = "co-occurrence"

    def __init__(self, pairs_per_item: int, popularity: HalfLifePopularity) -> None:
        self._pairs_per_item, self._popularity = pairs_per_item, popularity
        self._counts = scipy.sparse.csr_array((0, 0), dtype=np.float64)

    def learn(self, past: Sequences) -> None:
        self._popularity.learn(past)
        items = max(self._counts.shape[0], int(past.items.max(initial=0)) + 1)
        later = past.positions()
        lefts, rights = [], []
        for distance in range(1, REACH + 1):
            inside = later.end - distance >= later.begin
            lefts.append(past.items[later.end[inside] - distance])
            rights.append(later.target[inside])
        left, right = np.concatenate(lefts), np.concatenate(rights)
        pair = (left != right) & (left > 0) & (right > 0)
        left, right = left[pair], right[pair]
        both = (np.concatenate([left, right]), np.concatenate([right, left]))
        learned = scipy.sparse.csr_array((np.ones(len(both[0])), both), shape=(items, items))
        self._counts.resize((items, items))
        self._counts = _most_counted(self._counts + learned, self._pairs_per_item)

    def scores(self, asked: Positions, items: int) -> Scores:
        self._counts.resize((items, items))
        with_history = asked.end > asked.begin
        last = np.where(with_history, asked.items[np.maximum(asked.end - 1, 0)] if len(asked.items) else 0, 0)
        # Nothing is together with row 0, so that a position without a history has no score of its own.
        return Scores(self._counts[last], self._popularity.popularity(items))


def _most_counted(counts: scipy.sparse.csr_array, kept: int) -> scipy.sparse.csr_array:
    counts.sort_indices()
    columns = counts.indices.astype(np.int64)
    return top_of_rows(counts, counts.data * counts.shape[1] - columns, kept)
