"""The protocol of a baseline: told of what happened, asked for an order of the items; nothing is trained."""

from __future__ import annotations

import abc
import dataclasses

import numpy as np
import scipy.sparse

from trainer.input_pipeline import Positions, Sequences


@dataclasses.dataclass(frozen=True)
class Scores:
    """The order of all items at each of b positions: those with a score of their own first, then the rest.

    Attributes:
      own: float64 [b, items], sparse, above 0 where there is one; each cell at most once.
      rest: float64 [items], the same for everybody: the order of the others, and of items whose `own` is the same.
    """

    own: scipy.sparse.csr_array
    rest: np.ndarray


class Baseline(abc.ABC):
    """Goes from span to span with what it has counted, which is bounded.

    A key is an int64 that stands for the id, with a row of the vocabulary or without. Rows of items are those of the
    newest span's vocabulary: a row that was given keeps its item. Row 0 is an item without a row of its own, of which
    nothing is known.
    """

    name: str
    """As it stands in the table."""

    @abc.abstractmethod
    def learn(self, past: Sequences) -> None:
        """Told of a span: of each event from `first_new` on once, in the order of the spans."""

    @abc.abstractmethod
    def scores(self, asked: Positions, items: int) -> Scores:
        """How the items stand at each position of `asked`, before any of it was learned.

        Args:
          asked: b positions; their histories are as long as a model's at most.
          items: rows of the vocabulary.
        """


def new_items(past: Sequences) -> np.ndarray:
    """The item rows of the new events of each sequence, int64 [n]."""
    return past.positions().target


def histories(asked: Positions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every event of every history: its position's number, its place from 1 for the oldest, and its item; int64 [n]."""
    length = asked.end - asked.begin
    position = np.repeat(np.arange(len(asked)), length)
    place = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    return position, place + 1, asked.items[asked.begin[position] + place]


def grown(counts: np.ndarray, items: int) -> np.ndarray:
    """`counts` [n] with zeros behind, for at least `items` rows."""
    return np.concatenate([counts, np.zeros(max(0, items - len(counts)), counts.dtype)])


def none_of_its_own(positions: int, items: int) -> scipy.sparse.csr_array:
    """Of a baseline that is the same for everybody."""
    return scipy.sparse.csr_array((positions, items), dtype=np.float64)


def of_last_occurrence(
    position: np.ndarray, item: np.ndarray, value: np.ndarray, shape: tuple[int, int]
) -> scipy.sparse.csr_array:
    """float64 [b, items] from what `histories` gives: of an item that comes several times the last `value` [n].

    Row 0 is left out.
    """
    position, item, value = (column[item > 0] for column in (position, item, value))
    cell = position * shape[1] + item
    _, last = np.unique(cell[::-1], return_index=True)
    at = len(cell) - 1 - last
    return scipy.sparse.csr_array((value[at].astype(np.float64), (position[at], item[at])), shape=shape)
