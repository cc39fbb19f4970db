"""A large catalogue, a block of items at a time: what is held follows the batch, not the batch times the catalogue."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, Protocol

from trainer.keras2 import tf

AT_ONCE = 1 << 14  # items, up to which all are scored at once
CELLS = 1 << 21  # scores that are held at a time: about what stays in a processor's cache
_MOST = 1 << 15  # items of a block


class SparseScores(NamedTuple):
    """A float32 [b, items] matrix with few entries: int64 [n, 2] places and their float32 [n] values."""

    at: tf.Tensor
    value: tf.Tensor


class Items(Protocol):
    """The item's half of a dot product: `FrozenItems`, or `LiveItems` of a model that is being trained."""

    def vectors(self, rows: tf.Tensor) -> tf.Tensor:
        """float32 [..., d] of int64 rows of any shape."""
        ...

    def between(self, first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
        """float32 [last - first, d], of the rows from `first` to before `last`."""
        ...


@dataclasses.dataclass(frozen=True)
class LiveItems:
    """Vectors as the model has them now, float32 [n, d] for int64 [n] rows."""

    vectors: Callable[[tf.Tensor], tf.Tensor]

    def between(self, first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
        return self.vectors(tf.range(first, last))


@dataclasses.dataclass(frozen=True)
class InBlocks:
    """How a catalogue is scored a block at a time: products of vectors, and a few scores to which more is added.

    Attributes:
      items: float32 [d] each.
      query: float32 [b, d] for int64 [b] keys and [b, h] histories.
      added: to single scores, for histories; a cell that comes more than once gets the sum. None for nothing.
    """

    items: Items
    query: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    added: Callable[[tf.Tensor], SparseScores] | None = None


def end_of_block(first: tf.Tensor, positions: tf.Tensor, size: int, cells: int) -> tf.Tensor:
    """Before which row a block ends that begins at `first` and is scored for so many positions, int64."""
    return tf.minimum(first + tf.clip_by_value(cells // tf.maximum(positions, 1), 1, _MOST), size)
