"""Which exemplars a replay memory keeps: rules that give each sequence a number, of which the lowest stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from trainer.input_pipeline import Sequences
from trainer.settings import SelectionName


class Pool(Protocol):
    """What a rule sees: the s sequences of a replay memory, the new ones among them.

    Attributes:
      budget: how many of them stay.
      sequences: themselves.
      span, draw, labels: int64 [s], uint64 [s] and int64 [s], see `ReplayMemory`.
    """

    @property
    def budget(self) -> int: ...

    @property
    def sequences(self) -> Sequences: ...

    @property
    def span(self) -> np.ndarray: ...

    @property
    def draw(self) -> np.ndarray: ...

    @property
    def labels(self) -> np.ndarray: ...


Selection = Callable[[Pool], np.ndarray]
"""float64 [s] for the s sequences of a pool."""

_DRAWS = 2.0**63  # a draw is an integer below


def reservoir(pool: Pool) -> np.ndarray:
    """Every sequence of every span is as likely to be kept.

    Reservoir sampling (Vitter, "Random sampling with a reservoir", ACM TOMS 11, 1985) by random keys: each sequence
    has drawn a number, and those with the lowest stay.
    """
    return pool.draw.astype(np.float64)


def recency(half_life: float) -> Selection:
    """A sequence that is `half_life` spans older is half as likely to be kept next.

    Weighted reservoir sampling ("A-Res"; Efraimidis and Spirakis, "Weighted random sampling with a reservoir",
    Information Processing Letters 97, 2006), which keeps the largest u^(1/w). With w = 2^(-age / half_life) the order
    is that of log2(-ln(u)) - span / half_life, in which no present occurs ("forward decay": Cormode et al., ICDE 2009):
    a number never changes, so the memory depends neither on the order of the spans nor on how they were batched.
    """

    def numbers(pool: Pool) -> np.ndarray:
        uniform = (pool.draw.astype(np.float64) + 0.5) / _DRAWS
        return np.log2(-np.log1p(-uniform)) - pool.span / half_life

    return numbers


def frequency(pool: Pool) -> np.ndarray:
    """An item's share of the memory follows how often it is the label in the pool; which of them is drawn.

    ADER (Mi, Lin and Faltings, RecSys 2020, algorithm 1): an item's exemplars are proportional to its frequency among
    the span's labels and the exemplars so far, so that older spans fade. A sequence's label is its last item.
    """
    return by_label_share(pool.labels, _rank_in_label(pool.labels, pool.draw))


def by_label_share(labels: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Numbers by which each label gets its share of any budget, its sequences in the order of `rank`.

    A label's sequences lie evenly in [0, 1), so that below any number there is the same part of each label (divisor
    apportionment: Balinski and Young, "Fair representation", 1982). Where in its step a label begins is drawn once for
    each label, so that of the labels too rare for a place some have one.

    Args:
      labels: int64 [s]; rank: int64 [s], the place of each among those of its label.
    """
    _, place, count = np.unique(labels, return_inverse=True, return_counts=True)
    begin = np.random.default_rng(0).random(int(labels.max(initial=0)) + 1)[labels]
    return (rank + begin) / count[place]


def _rank_in_label(labels: np.ndarray, order: np.ndarray) -> np.ndarray:
    by_label = np.lexsort((order, labels))
    first = np.searchsorted(labels[by_label], labels[by_label])
    rank = np.empty(len(labels), np.int64)
    rank[by_label] = np.arange(len(labels)) - first
    return rank


def find_selection(name: SelectionName, half_life: float) -> Selection:
    """The rule called `name` as far as it needs no model; for `herding`, `frequency`, which has the same shares."""
    return {
        "reservoir": reservoir, "recency": recency(half_life), "frequency": frequency, "herding": frequency
    }[name]  # fmt: skip
