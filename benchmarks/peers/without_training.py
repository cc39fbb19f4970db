"""warmspan's baselines that count and train nothing, by their names in `backtest.baselines`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.baselines import at_week
from benchmarks.peers.peer import Peer, Sessions
from benchmarks.session_spans import sequences_of
from pipeline.backtest.baselines.registry import make_baselines
from pipeline.config.backtest import Backtest
from trainer.input_pipeline import Positions

_AT_ONCE = 1000
_LENGTH = 20
_NO_ITEMS = 2  # rows: padding, and of whatever has no row


class System(Peer):
    """`name` is that of a baseline; the rest are settings of the section `backtest`."""

    def __init__(self, seed: int, name: str, **settings: Any) -> None:
        super().__init__(seed, **settings)
        (self._baseline,) = make_baselines(Backtest(baselines=(name,), **settings), "days")
        self._week, self._items = 0, 0

    def learn(self, new: Sequence[Sessions]) -> None:
        for sessions in new:
            self._week += 1
            self._items = max(self._items, int(sessions.items.max()) + 1)
            self._baseline.learn(at_week(sequences_of(sessions.items, np.diff(sessions.splits)), self._week))

    def recommend(self, asked: Sessions, k: int) -> np.ndarray:
        nobody, weight = np.full(len(asked), -1, np.int64), np.ones(len(asked), np.float32)
        begin = np.maximum(asked.splits[:-1], asked.splits[1:] - _LENGTH)
        positions = Positions(asked.items, begin, asked.splits[1:], nobody, nobody, weight, nobody)
        top = np.zeros((len(asked), k), np.int64)
        for first in range(0, len(asked), _AT_ONCE):
            part = np.arange(first, min(first + _AT_ONCE, len(asked)))
            scores = self._baseline.scores(positions.take(part), self._items)
            others = np.argsort(-scores.rest, kind="stable")
            for row in part:
                cells = slice(*scores.own.indptr[row - first : row - first + 2])
                own = scores.own.indices[cells]
                own = own[np.lexsort((-scores.rest[own], -scores.own.data[cells]))]
                behind = others[: k + len(own) + _NO_ITEMS]
                behind = behind[(behind >= _NO_ITEMS) & ~np.isin(behind, own)]
                best = np.concatenate([own, behind])[:k]
                top[row, : len(best)] = best
        return top
