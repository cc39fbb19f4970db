"""What a trained model must answer to be exported, and what is known of its items."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

UNAVAILABLE = -1e30  # a score that stands for "no item"; finite, because JSON has no infinity


class ItemTable(Protocol):
    """A vector a row of the item vocabulary."""

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """float32 [..., d] of int64 rows of any shape."""
        ...

    def product(self, query: tf.Tensor) -> tf.Tensor:
        """float32 [b, items] from [b, d]."""
        ...


class FrozenItems(Protocol):
    """The item's half of a dot product, of width d + 1."""

    table: ItemTable

    @property
    def embeddings(self) -> tf.Variable:
        """The table as it was trained, float32 [items, d]."""
        ...

    def vectors(self, rows: tf.Tensor) -> tf.Tensor:
        """float32 [..., d + 1] of int64 rows of any shape."""
        ...


class DotProduct(Protocol):
    """How scores come from vectors; `whole` where nothing is added to their product."""

    @property
    def items(self) -> FrozenItems: ...

    @property
    def query(self) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        """float32 [b, d + 1] for int64 [b] keys and [b, h] histories."""
        ...

    @property
    def whole(self) -> bool: ...


class Servable(Protocol):
    """What a trained model must answer, over rows of its vocabularies.

    A `key` is int64 [b], or, of a model that learned from features of users and requests, a mapping of these rows under
    `row` and of values by the names of its inputs (see `QueryInputs`).
    """

    history_length: int

    @property
    def dot_product(self) -> DotProduct | None:
        """None for a model whose scores are no dot product."""
        ...

    def score_all(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor: ...

    def score(self, key: tf.Tensor, history: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor: ...

    def evaluate_positions(
        self, key: tf.Tensor, history: tf.Tensor, item: tf.Tensor, weight: tf.Tensor, k: int, exclude_seen: bool
    ) -> dict[str, tf.Tensor]: ...


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """The ids behind the rows.

    Attributes:
      items, keys: ids, the first of them of row `first_row`.
      columns: what comes along with a recommended item: output name to a text for each of `items`.
      first_row: the row of the first id. Below are padding and the rows of unknown ids.
      available: bool [items], False for what is never to be recommended; None where all may be.
      item_numbers, key_numbers: int64, what held-out positions call the rows of `items` and `keys`; None where each row
        is its own number.
    """

    items: Sequence[bytes]
    keys: Sequence[bytes]
    columns: Mapping[str, Sequence[str]]
    first_row: int
    available: np.ndarray | None = None
    item_numbers: np.ndarray | None = None
    key_numbers: np.ndarray | None = None

    @property
    def size(self) -> int:
        """Rows of the item table."""
        return self.first_row + len(self.items)

    @property
    def shown(self) -> np.ndarray:
        """Which rows can be recommended, bool [size]."""
        shown = np.zeros(self.size, bool)
        shown[self.first_row :] = True if self.available is None else self.available
        return shown
