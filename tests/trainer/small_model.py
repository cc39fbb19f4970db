"""A recommender small enough to be computed by hand, and the spans and vocabularies to train it on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from trainer.input_pipeline import Positions, Sequences
from trainer.keras2 import keras, tf
from trainer.models.base import Recommender, TableSizes, VocabularyName

SMALL = "tests.trainer.small_model.Small"
SPEAKING = "tests.trainer.small_model.Speaking"
HISTORY = 6


class Small(Recommender):
    """score = <key + mean of the history, item> + bias; trained with the softmax over the catalogue."""

    tables: ClassVar[dict[str, VocabularyName]] = {
        "item": "items",
        "key": "keys",
        "bias": "items",
        "popularity": "items",
    }

    def __init__(self, sizes: TableSizes, history_length: int, dimension: int = 3, hidden: int = 0) -> None:
        super().__init__(sizes, history_length)
        self.item = keras.layers.Embedding(sizes.items, dimension, "normal")
        self.key = keras.layers.Embedding(sizes.keys, dimension, "normal")
        self.bias = self.add_weight("bias", [sizes.items], initializer="normal")
        self.popularity = self.add_weight("popularity", [sizes.items], initializer="zeros", trainable=False)
        self.scale = keras.Sequential([keras.layers.Dense(1, kernel_initializer="ones") for _ in range(1 + hidden)])
        self.item.build(())
        self.key.build(())
        self.scale.build([None, 1])

    def set_popularity(self, recent: np.ndarray) -> None:
        self.popularity.assign(recent.astype(np.float32))

    def score_all(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        present = tf.cast(history > 0, tf.float32)[:, :, None]
        mean = tf.math.divide_no_nan(tf.reduce_sum(self.item(history) * present, 1), tf.reduce_sum(present, 1))
        query = self.key(key) + mean
        return tf.matmul(query, self.item.embeddings, transpose_b=True) * self.scale(tf.ones([1, 1])) + self.bias

    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        scores = self.score_all(batch["key"], batch["history"])
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=batch["item"], logits=scores)
        return tf.reduce_mean(losses * batch["weight"])


class Speaking(Small):
    """Represents a session by the mean of its items."""

    def represent(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        del key
        return tf.reduce_mean(self.item(history), axis=1)


class Sampled(Small):
    """Looks up only the rows of its batch, so that every gradient of a table is sparse."""

    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        query = self.key(batch["key"]) + tf.reduce_mean(self.item(batch["history"]), axis=1)
        logits = tf.matmul(query, self.item(batch["item"]), transpose_b=True) + tf.gather(self.bias, batch["item"])
        labels = tf.range(tf.shape(logits)[0])
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))


def sequences(rows: Sequence[tuple[int, Sequence[int], int]]) -> Sequences:
    """Sequences from (key row, item rows, first new position); all new ones are the span's own."""
    lengths = [len(items) for _, items, _ in rows]
    items = np.array([item for _, items, _ in rows for item in items], np.int64)
    first = np.array([first for _, _, first in rows], np.int64)
    return Sequences(
        items=items,
        timestamps=np.arange(len(items), dtype=np.int64),
        weights=np.ones(len(items), np.float32),
        splits=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        key=np.array([key for key, _, _ in rows], np.int64),
        first_new=first,
        first_today=first,
    )


def random_sequences(sizes: TableSizes, count: int, seed: int) -> Sequences:
    """`count` sequences of one to eight events over all rows from `first_row` on."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        items = random.integers(sizes.first_row, sizes.items, random.integers(1, 9))
        rows.append((int(random.integers(sizes.first_row, sizes.keys)), items, int(random.integers(0, len(items)))))
    return sequences(rows)


def held_out(sizes: TableSizes, count: int, seed: int) -> Positions:
    """The last position of `count` random sequences each."""
    random = random_sequences(sizes, count, seed).positions()
    return random.take(np.arange(min(count, len(random))))
