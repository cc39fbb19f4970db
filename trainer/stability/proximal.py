"""A proximal term: the weights that a batch uses are pulled towards what they were in the previous model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trainer.keras2 import tf
from trainer.models.base import Recommender, VocabularyName
from trainer.stability.base import NEW, Batches, Part
from trainer.warm_start import table_of

_LOOKED_UP: dict[VocabularyName, tuple[str, ...]] = {"items": ("item", "history"), "keys": ("key",)}


class Proximal(Part):
    """strength / 2 * mean over the batch's positions of |w - w_previous|^2, w being what the position uses.

    "L2-SP" (Li, Grandvalet and Davoine, "Explicit inductive bias for transfer learning with convolutional networks",
    ICML 2018, eq. 2), with the start being yesterday's model. Of a table a position uses the rows of its key, its item
    and its history, as in matrix factorisation by stochastic gradient (Koren, Bell and Volinsky, IEEE Computer 42,
    2009, eq. 2): a step's cost follows the batch, not the table, and gradients stay sparse. Every position uses all of
    the other weights. Rows that the previous model did not have are free, so is row 0, which pads.

    Args:
      variables: the trainable weights by path.
      previous: the previous model's weights by path; a table may have fewer rows.
      strength: how hard the pull is.
    """

    def __init__(
        self,
        model: Recommender,
        variables: Mapping[str, tf.Variable],
        previous: Mapping[str, np.ndarray],
        strength: float,
    ) -> None:
        self._strength = strength
        self._anchors = [
            (table_of(model, path), variable, tf.constant(previous[path]))
            for path, variable in sorted(variables.items())
            if variable.trainable
        ]

    def loss(self, model: Recommender, batches: Batches) -> tf.Tensor:
        batch = batches[NEW]
        total = tf.constant(0.0)
        for table, variable, previous in self._anchors:
            if table is None:
                total += tf.reduce_sum(tf.square(variable - previous))
                continue
            rows, share = _used(batch, table, len(previous))
            moved = tf.reshape(tf.gather(variable, rows) - tf.gather(previous, rows), [tf.shape(rows)[0], -1])
            total += tf.reduce_sum(share * tf.reduce_sum(tf.square(moved), axis=1))
        return self._strength / 2 * total


def _used(batch: dict[str, tf.Tensor], table: VocabularyName, carried: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The carried rows that a batch uses, each once, and how many of them a position uses in the mean."""
    found = [tf.reshape(batch[name], [-1]) for name in _LOOKED_UP[table] if name in batch]
    every = tf.concat(found, axis=0)
    rows, _, count = tf.unique_with_counts(tf.boolean_mask(every, (every > 0) & (every < carried)))
    positions = tf.shape(batch["item"])[0]
    return rows, tf.cast(count, tf.float32) / tf.cast(positions, tf.float32)
