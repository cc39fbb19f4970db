"""A recommender small enough to be computed by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from trainer.keras2 import keras, tf
from trainer.metrics import weighted_mean
from trainer.models.base import Recommender, TableSizes, VocabularyName, WeightRole

SMALL = "tests.trainer.small_model.Small"
SPEAKING = "tests.trainer.small_model.Speaking"
HISTORY = 6


class Small(Recommender):
    """score = <key + mean of the history, item> + bias; trained with the softmax over the catalogue."""

    shares_steps = True
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

    @classmethod
    def weight_role(cls, params: Mapping[str, Any]) -> WeightRole:
        return "loss"

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
        return weighted_mean(losses, batch["weight"])


class Speaking(Small):
    """Represents a session by the mean of its items."""

    shares_steps = True

    def represent(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        del key
        return tf.reduce_mean(self.item(history), axis=1)


class Sampled(Small):
    """Looks up only the rows of its batch, so that every gradient of a table is sparse."""

    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        query = self.key(batch["key"]) + tf.reduce_mean(self.item(batch["history"]), axis=1)
        logits = tf.matmul(query, self.item(batch["item"]), transpose_b=True) + tf.gather(self.bias, batch["item"])
        labels = tf.range(tf.shape(logits)[0])
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        return weighted_mean(losses, batch["weight"])
