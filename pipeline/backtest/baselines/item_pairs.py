"""What baselines share that score an item by the history's last one: counts of pairs that stand close together."""

from __future__ import annotations

import abc

import numpy as np
import scipy.sparse

from pipeline.backtest.baselines.base import Baseline, Scores
from pipeline.backtest.baselines.half_life import HalfLifePopularity
from pipeline.backtest.baselines.row_top import top_of_rows
from trainer.input_pipeline import Positions, Sequences

REACH = 10  # events; what lies further apart is not counted as together


class ItemPairs(Baseline):
    """Counts pairs of items at most 10 events apart.

    Args:
      pairs_per_item: after each span so many items are kept of each, the most counted; of two that are counted as often
        the one with the lower row. Memory is bounded by items times this.
      popularity: of the items that make no pair with the last one.
    """

    def __init__(self, pairs_per_item: int, popularity: HalfLifePopularity) -> None:
        self._pairs_per_item, self._popularity = pairs_per_item, popularity
        self._counts = scipy.sparse.csr_array((0, 0), dtype=np.float64)

    @abc.abstractmethod
    def _cells(
        self, earlier: np.ndarray, later: np.ndarray, distance: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The last item, the one that it speaks for and by how much, [m] each, of pairs [n] `distance` events apart."""

    def learn(self, past: Sequences) -> None:
        self._popularity.learn(past)
        items = max(self._counts.shape[0], int(past.items.max(initial=0)) + 1)
        last, spoken_for, value = self._cells(*_pairs(past))
        learned = scipy.sparse.csr_array((value, (last, spoken_for)), shape=(items, items))
        self._counts.resize((items, items))
        self._counts = _most_counted(self._counts + learned, self._pairs_per_item)

    def scores(self, asked: Positions, items: int) -> Scores:
        self._counts.resize((items, items))
        with_history = asked.end > asked.begin
        last = np.where(with_history, asked.items[np.maximum(asked.end - 1, 0)] if len(asked.items) else 0, 0)
        # Nothing is together with row 0, so that a position without a history has no score of its own.
        return Scores(self._counts[last], self._popularity.popularity(items))


def _pairs(past: Sequences) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The earlier and the later item of each pair whose later event is new, and their distance; int64 [n] each."""
    new = past.positions()
    earlier, later, distances = [], [], []
    for distance in range(1, REACH + 1):
        inside = new.end - distance >= new.begin
        earlier.append(past.items[new.end[inside] - distance])
        later.append(new.target[inside])
        distances.append(np.full(int(inside.sum()), distance))
    left, right, apart = (np.concatenate(column) for column in (earlier, later, distances))
    pair = (left > 0) & (right > 0)
    return left[pair], right[pair], apart[pair]


def _most_counted(counts: scipy.sparse.csr_array, kept: int) -> scipy.sparse.csr_array:
    place = np.empty(counts.nnz, np.int64)
    place[np.lexsort((-counts.indices, counts.data))] = np.arange(counts.nnz)
    return top_of_rows(counts, place, kept)
