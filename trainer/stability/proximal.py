"""A proximal term: the weights that a batch uses are pulled towards what they were in the previous model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trainer.keras2 import tf
from trainer.models.base import Recommender, table_of
from trainer.replicas import replicas
from trainer.stability.base import NEW, Batches, LossTerm
from trainer.stability.batch_rows import LOOKED_UP, used_rows


class Proximal(LossTerm):
    """strength / 2 * mean over the batch's positions of |w - w_previous|^2, w being what the position uses.

    "L2-SP" (Li, Grandvalet and Davoine, "Explicit inductive bias for transfer learning with convolutional networks",
    ICML 2018, eq. 2), with the start being yesterday's model. Of a table a position uses the rows of its key, its item
    and its history, as in matrix factorisation by stochastic gradient (Koren, Bell and Volinsky, IEEE Computer 42,
    2009, eq. 2): a step's cost follows the batch, not the table, and gradients stay sparse. Every position uses all of
    the other weights. A step of a sequence is a position; an input of it is counted once. Rows that the previous model
    did not have are free, so is row 0, which pads.

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
            if variable.trainable and path in previous
        ]

    def loss(self, model: Recommender, batches: Batches) -> tf.Tensor:
        batch = batches[NEW]
        total = tf.constant(0.0)
        for table, variable, previous in self._anchors:
            if table is None:
                total += tf.reduce_sum(tf.square(variable - previous))
                continue
            if table not in LOOKED_UP:  # of words, which items have: a small table, of which every position uses all
                total += tf.reduce_sum(tf.square(variable[: len(previous)] - previous))
                continue
            rows, share = used_rows(batch, table, len(previous))
            moved = tf.reshape(tf.gather(variable, rows) - tf.gather(previous, rows), [tf.shape(rows)[0], -1])
            total += tf.reduce_sum(share * tf.reduce_sum(tf.square(moved), axis=1))
        return self._strength / 2 / replicas() * total
