"""Sessions like this one, and what was in them."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from pipeline.backtest.baselines.base import Baseline, Scores, histories, of_last_occurrence
from pipeline.backtest.baselines.half_life import HalfLifePopularity
from pipeline.backtest.baselines.row_top import cut, top_of_rows
from trainer.input_pipeline import Positions, Sequences


class VSkNN(Baseline):
    """Vector multiplication session kNN: items by score(i) = sum over the neighbours n of sim(s, n) * [i in n].

    V-SKNN of Ludewig and Jannach ("Evaluation of session-based recommendation algorithms", UMUAI 28, 2018, section 3).

    sim(s, n) is the product of the history's weights, which fall in a straight line from 1 for its last event to 1 / h
    for the first of h, an item that occurs again having the weight of its last event, with the set of the items of n.
    The neighbours are the `nearest` of the `sample_size` most recent sessions that share an item with the history; of
    two that are as near the more recent. Behind the items of the neighbours comes what is popular.

    A session is what a key's sequence holds: of a user who comes back the last `history.length` events, the newer ones
    in place of the older. A key is no neighbour of itself.

    Args:
      sessions: so many are kept, the most recent.
      sample_size, nearest: see above.
      popularity: of the others.
    """

    name = "V-SkNN"

    def __init__(self, sessions: int, sample_size: int, nearest: int, popularity: HalfLifePopularity) -> None:
        self._most, self._sample_size, self._nearest = sessions, sample_size, nearest
        self._popularity = popularity
        self._keys = np.zeros(0, np.int64)
        self._items = scipy.sparse.csr_array((0, 0), dtype=np.float64)  # the oldest session first

    def learn(self, past: Sequences) -> None:
        self._popularity.learn(past)
        some = np.flatnonzero(np.diff(past.splits) > past.first_new)
        newest = past.timestamps[past.splits[some + 1] - 1]
        some = some[np.argsort(newest, kind="stable")]
        # Of a key that comes twice, as a span's train part and what was held out of it do, the last is the whole.
        _, last = np.unique(past.key[some][::-1], return_index=True)
        learned = past.take(some[np.sort(len(some) - 1 - last)])
        items = max(self._items.shape[1], int(past.items.max(initial=0)) + 1)
        owner = np.repeat(np.arange(len(learned)), np.diff(learned.splits))
        ones = np.ones(len(owner))
        sets = of_last_occurrence(owner, learned.items, ones, (len(learned), items))
        self._items.resize((self._items.shape[0], items))
        older = np.flatnonzero(~np.isin(self._keys, learned.key))
        kept = np.concatenate([self._keys[older], learned.key])
        both = scipy.sparse.vstack([self._items[older], sets], format="csr")
        self._keys, self._items = kept[-self._most :], scipy.sparse.csr_array(both)[-self._most :]

    def scores(self, asked: Positions, items: int) -> Scores:
        self._items.resize((self._items.shape[0], items))
        position, place, item = histories(asked)
        # The weights times h, whole numbers: the order is the same, and sums are exact.
        weights = of_last_occurrence(position, item, place, (len(asked), items))
        alike = scipy.sparse.csr_array(weights @ self._items.T)
        alike.sort_indices()
        sampled = self._most_recent(alike, asked)
        key = sampled.data * max(len(self._keys), 1) + sampled.indices
        return Scores(
            scipy.sparse.csr_array(top_of_rows(sampled, key, self._nearest) @ self._items),
            self._popularity.popularity(items),
        )

    def _most_recent(self, alike: scipy.sparse.csr_array, asked: Positions) -> scipy.sparse.csr_array:
        """Of each row the last columns, the key's own left out."""
        count = np.diff(alike.indptr)
        others = self._keys[alike.indices] != np.repeat(asked.key, count)
        alike = cut(alike, others)
        count = np.diff(alike.indptr)
        behind = np.repeat(alike.indptr[1:], count) - np.arange(alike.nnz)
        return cut(alike, behind <= self._sample_size)
