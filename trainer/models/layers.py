"""What the models keep of each item and key: embeddings, and how often an item lately occurred."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trainer.keras2 import keras, tf
from trainer.models.base import TableSizes
from trainer.models.sampled_softmax import rate_of_share
from trainer.precision import compute_dtype

UNSEEN = 0.1  # events that an item which never occurred counts as: unlikely, not impossible


class _Noise(keras.initializers.Initializer):
    """Normal noise in the rows of ids; padding and out-of-vocabulary rows start as "nothing known": zero."""

    def __init__(self, stddev: float, first_row: int) -> None:
        self.stddev, self.first_row = stddev, first_row

    def __call__(self, shape: tuple[int, ...], dtype: tf.DType | None = None, **kwargs: object) -> tf.Tensor:
        noise = tf.random.normal(shape, stddev=self.stddev, dtype=dtype or tf.float32)
        return noise * tf.cast(tf.range(shape[0]) >= self.first_row, noise.dtype)[:, None]


def item_table(sizes: TableSizes, width: int, stddev: float) -> keras.layers.Embedding:
    """An embedding a row of the item vocabulary, built."""
    return _built(keras.layers.Embedding(sizes.items, width, _Noise(stddev, sizes.first_row), dtype="float32"))


def key_table(sizes: TableSizes, width: int) -> keras.layers.Embedding:
    """An embedding a row of the key vocabulary, built. Zero at first: a new key is judged by its history alone."""
    return _built(keras.layers.Embedding(sizes.keys, width, "zeros", dtype="float32"))


def _built(table: keras.layers.Embedding) -> keras.layers.Embedding:
    table.build(())
    return table


class Popularity(keras.layers.Layer):
    """How often each item lately occurred. Not trained: told before each span, see `Recommender.set_popularity`."""

    def __init__(self, items: int) -> None:
        super().__init__(dtype="float32")
        self.counts = self.add_weight("counts", [items], initializer="zeros", trainable=False)
        self.average = self.add_weight("average", [], initializer="ones", trainable=False)
        self.items = items

    def assign(self, recent: np.ndarray) -> None:
        """Takes the float64 [items] decayed counts."""
        self.counts.assign(recent.astype(np.float32))
        self.average.assign(max(float(recent.sum()), 1.0) / self.items)

    def log(
        self,
        item: tf.Tensor,
        without: tf.Tensor | float = 0.0,
        expected: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
    ) -> tf.Tensor:
        """Log of count over average count for int64 rows of any shape, `without` so many of its events.

        `expected` says what the counts of items, whose rows it is given first, are taken for (see `LaunchPrior`).
        """
        count = tf.maximum(tf.gather(self.counts, item) - without, 0.0)
        count = count if expected is None else expected(item, count)
        return tf.math.log((count + UNSEEN) / (self.average + UNSEEN))

    def share(self, item: tf.Tensor) -> tf.Tensor:
        """The probability that a recent event is of the item, for int64 rows of any shape."""
        return tf.gather(self.counts, item) / (self.average * self.items)

    def sampling_rate(self) -> tf.Tensor:
        """As if batches were drawn from the recent events, float32 [items] (see `sampled_softmax.draw`)."""
        return rate_of_share(self.share(tf.range(self.items)))


class HistoryPooling(keras.layers.Layer):
    """The mean of a history of n events, weighted by a softmax over a learned bias for each distance to the present.

    It is as long as log(1 + n): one event is weak evidence of what a key wants, many that agree are strong.
    """

    def __init__(self, history_length: int) -> None:
        super().__init__(dtype="float32")
        self._low = compute_dtype()
        self.distance_bias = self.add_weight("distance_bias", [history_length], initializer="zeros")

    def call(self, history: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """float32 [b, d] from int64 [b, h] rows, 0 for none, and their [b, h, d] values; zero without a history."""
        weights = tf.cast(self.weights_of(history), self._low)
        mean = tf.einsum("bh,bhd->bd", weights, tf.cast(values, self._low))
        return self.length(history) * tf.cast(mean, tf.float32)

    def weights_of(self, history: tf.Tensor) -> tf.Tensor:
        """The weights of the mean, float32 [b, h]: they depend on where the events stand, not on what they are."""
        present = tf.cast(history > 0, tf.float32)
        bias = self.distance_bias[-tf.shape(history)[1] :]
        return tf.nn.softmax(bias - 1e9 * (1.0 - present), axis=1) * present

    def length(self, history: tf.Tensor) -> tf.Tensor:
        """What the mean is multiplied by, float32 [b, 1]."""
        return tf.math.log1p(tf.reduce_sum(tf.cast(history > 0, tf.float32), axis=1, keepdims=True))
