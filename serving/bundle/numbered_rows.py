"""Numbers of rows to rows, in the graph, for a bundle whose vocabulary ids have left."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

_UNKNOWN = 1  # the row of what has none


class NumberedRows(tf.Module):
    """The rows of the numbers that held-out positions hold (see `trainer.row_numbers`).

    Args:
      first_row: the row of the first id; what lies before are their own numbers.
      numbers: int64 [n], of the ids' rows, ascending.
    """

    def __init__(self, first_row: int, numbers: np.ndarray) -> None:
        super().__init__()
        self._first_row = first_row
        # One that nothing reaches, so that there is always something to compare with.
        self.numbers = tf.Variable(np.append(numbers, np.iinfo(np.int64).max), trainable=False)

    def rows(self, numbers: tf.Tensor) -> tf.Tensor:
        """int64 rows of numbers of any shape; 1 for an id without a row."""
        flat = tf.reshape(numbers, [-1])
        place = tf.searchsorted(self.numbers, flat, out_type=tf.int64)
        here = tf.gather(self.numbers, place) == flat
        rows = tf.where(here, place + self._first_row, tf.constant(_UNKNOWN, tf.int64))
        return tf.reshape(tf.where(flat < self._first_row, flat, rows), tf.shape(numbers))
