"""A key's own items once more: what is bought again, looked at again."""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy.sparse

from pipeline.backtest.baselines.base import Baseline, Scores, histories, of_last_occurrence
from pipeline.backtest.baselines.half_life import HalfLifePopularity
from trainer.input_pipeline import Positions, Sequences

Order = Literal["recent", "frequent"]
_WORDS: dict[Order, str] = {"recent": "most recent", "frequent": "most frequent"}


class OwnItems(Baseline):
    """The items of a key's history, the most recent or the most frequent first; behind them what is popular.

    Of two that are as frequent the more recent comes first. What is kept of a key is its history, which every model
    gets, `history.length` events at most.

    Args:
      order: of the own items.
      popularity: of the others.
    """

    def __init__(self, order: Order, popularity: HalfLifePopularity) -> None:
        self.name = f"own items again, {_WORDS[order]}"
        self._order, self._popularity = order, popularity

    def learn(self, past: Sequences) -> None:
        self._popularity.learn(past)

    def scores(self, asked: Positions, items: int) -> Scores:
        position, place, item = histories(asked)
        shape = (len(asked), items)
        own = of_last_occurrence(position, item, place, shape)
        if self._order == "frequent":
            ones = np.where(item > 0, 1.0, 0.0)
            counts = scipy.sparse.csr_array((ones, (position, item)), shape=shape)
            counts.eliminate_zeros()
            longest = int(place.max(initial=0)) + 1
            own = counts * longest + own
        return Scores(own, self._popularity.popularity(items))
