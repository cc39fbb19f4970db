"""What one feature adds to a vector: a vector a word, a curve over a number. Zero at first."""

from __future__ import annotations

import numpy as np

from trainer.features.declaration import FIRST_ROW, MISSING, PADDING, UNKNOWN
from trainer.features.number_statistics import KNOTS
from trainer.keras2 import keras, tf


class WordVectors(keras.layers.Layer):
    """A vector a word of a vocabulary; "missing" and "unknown" have one each."""

    def __init__(self, words: int, width: int) -> None:
        super().__init__(dtype="float32")
        self.vectors = self.add_weight("vectors", [words, width], initializer="zeros")

    def mean(self, rows: tf.Tensor) -> tf.Tensor:
        """float32 [..., width] of rows of words [..., slots], 0 for none; zero of none at all."""
        present = tf.cast(rows != PADDING, tf.float32)
        if rows.shape[-1] is None:  # of a request
            total = tf.reduce_sum(tf.gather(self.vectors, rows) * present[..., None], axis=-2)
            return tf.math.divide_no_nan(total, tf.reduce_sum(present, axis=-1, keepdims=True))
        # A slot after the other: all at once would be as many times the memory, for a whole catalogue.
        slots = zip(tf.unstack(rows, axis=-1), tf.unstack(present, axis=-1), strict=True)
        total = tf.add_n([tf.gather(self.vectors, row) * there[..., None] for row, there in slots])
        return tf.math.divide_no_nan(total, tf.reduce_sum(present, axis=-1, keepdims=True))


class NumberCurve(keras.layers.Layer):
    """A curve through a vector at each knot: straight between two of them, level beyond the ends.

    Gorishniy, Rubachev and Babenko, "On embeddings for numerical features in tabular deep learning", NeurIPS 2022,
    section 3.2, with quantiles as knots. They stay as long as the model does, whatever later days bring: what a vector
    was learned for is what it stands for.
    """

    def __init__(self, width: int) -> None:
        super().__init__(dtype="float32")
        self.knots = self.add_weight("knots", [KNOTS], initializer=keras.initializers.Constant(np.nan), trainable=False)
        self.vectors = self.add_weight("vectors", [FIRST_ROW + KNOTS, width], initializer="zeros")

    def set_knots(self, knots: np.ndarray) -> None:
        """Takes float32 [KNOTS]; those that there are stay."""
        if np.isnan(self.knots.numpy()).all():
            self.knots.assign(knots)

    def at(self, values: tf.Tensor) -> tf.Tensor:
        """float32 [..., width] of float32 values; NaN is missing, infinite unknown, minus infinite adds nothing."""
        shape = tf.shape(values)
        value = tf.reshape(values, [-1])
        finite = tf.math.is_finite(value)
        # Before there is any value there are no knots, and all that comes is the same.
        knots = tf.where(tf.math.is_nan(self.knots), tf.zeros_like(self.knots), self.knots)
        within = tf.maximum(tf.where(finite, value, 0.0), knots[0])
        left = tf.clip_by_value(tf.searchsorted(knots, within, side="right") - 1, 0, KNOTS - 2)
        begin, end = tf.gather(knots, left), tf.gather(knots, left + 1)
        share = tf.clip_by_value(tf.math.divide_no_nan(within - begin, end - begin), 0.0, 1.0)[:, None]
        code = tf.where(tf.math.is_nan(value), MISSING, tf.where(value > 0, UNKNOWN, PADDING))
        first = tf.gather(self.vectors, tf.where(finite, FIRST_ROW + left, code))
        second = tf.gather(self.vectors, tf.where(finite, FIRST_ROW + left + 1, code))
        there = tf.cast(finite | (code != PADDING), tf.float32)[:, None]
        vectors = there * ((1.0 - share) * first + share * second)
        return tf.reshape(vectors, tf.concat([shape, tf.shape(vectors)[1:]], axis=0))
