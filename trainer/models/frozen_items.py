"""The items of a model that is no longer trained, in the form in which they are served."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

from trainer.keras2 import tf


class ItemTable(Protocol):
    """A vector a row of the item vocabulary, perhaps kept in fewer bits than it was trained in."""

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """float32 [..., d] of int64 rows of any shape."""
        ...

    def product(self, query: tf.Tensor) -> tf.Tensor:
        """float32 [b, items] from [b, d]."""
        ...

    def between(self, first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
        """float32 [last - first, d], the rows from `first` to before `last`."""
        ...


def gather(values: tf.Variable, rows: tf.Tensor) -> tf.Tensor:
    """Rows of a variable that other operations read whole.

    TensorFlow's own gather from a variable, once it has run, makes every later read of that variable copy all of it, so
    that a sparse update can't be seen half done. Here nothing is updated any more, and the copy would be the catalogue.
    """
    return tf.gather(values.read_value(), rows)


class FullTable:
    """The trained variable itself."""

    def __init__(self, values: tf.Variable) -> None:
        self.values = values

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        return gather(self.values, rows)

    def product(self, query: tf.Tensor) -> tf.Tensor:
        return tf.matmul(query, self.values, transpose_b=True)

    def between(self, first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
        return self.values.read_value()[first:last]


class FrozenItems:
    """The item's half of a dot product: vector(i) = [scale[i] * table[i], offset[i]].

    Kept in parts and not as one matrix, so that the table which histories are looked up in is not kept twice.

    Attributes:
      table: [items, d]; another `ItemTable` may be put in its place.
      scale: float32 [items], or None for ones.
      offset: float32 [items].
    """

    def __init__(self, embeddings: tf.Variable, offset: tf.Tensor, scale: tf.Tensor | None = None) -> None:
        self.table: ItemTable = FullTable(embeddings)
        self.embeddings = embeddings
        self.offset = tf.Variable(offset, trainable=False, name="offset")
        self.scale = None if scale is None else tf.Variable(scale, trainable=False, name="scale")

    def scores(self, query: tf.Tensor) -> tf.Tensor:
        """<query, vector(i)> of every item, float32 [b, items] from [b, d + 1]."""
        scores = self.table.product(query[:, :-1])
        if self.scale is not None:
            scores *= self.scale
        return scores + query[:, -1:] * self.offset

    def between(self, first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
        """The vectors of the rows from `first` to before `last`, float32 [last - first, d + 1]."""
        vectors = self.table.between(first, last)
        if self.scale is not None:
            vectors *= self.scale.read_value()[first:last, None]
        return tf.concat([vectors, self.offset.read_value()[first:last, None]], axis=1)

    def vectors(self, rows: tf.Tensor) -> tf.Tensor:
        """float32 [..., d + 1] of int64 rows of any shape."""
        vectors = self.table(rows)
        if self.scale is not None:
            vectors *= gather(self.scale, rows)[..., None]
        return tf.concat([vectors, gather(self.offset, rows)[..., None]], axis=-1)


@dataclasses.dataclass(frozen=True)
class DotProduct:
    """How a frozen model's scores come from vectors.

    Attributes:
      items: the items' half.
      query: the other half, float32 [b, d + 1] for int64 [b] keys and [b, h] histories.
      whole: whether the scores are that product. False where more is added to single cells of it.
    """

    items: FrozenItems
    query: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    whole: bool
