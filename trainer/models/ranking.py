"""Ranking: an MLP over a key, its history and an item, for what a dot product can't say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import tensorflow_recommenders as tfrs

from trainer.keras2 import keras, tf
from trainer.metrics import UNAVAILABLE, mask_scores
from trainer.models.base import Recommender, TableSizes, VocabularyName, WeightRole
from trainer.models.frozen_items import gather
from trainer.models.layers import HistoryPooling, item_table, key_table

Objective = Literal["rating", "click"]
_NEGATIVES = 4


class Ranking(Recommender):
    """score(key, history, item) = MLP([u_key, pooled(history), v_item]) + bias of the item.

    The MLP's first layer is written as a sum of a key's part and an item's part, so that the catalogue's half is
    computed once for all requests. Trained with TFRS's Ranking task:

    * `rating`: mean squared error on the event's weight. Weights are brought to mean 0 and deviation 1 by their
      running moments, so that the network need not learn the scale; scores are on the scale of the weights.
    * `click`: binary cross-entropy of the event's item against `negatives` items drawn evenly from the catalogue,
      neither of the history nor the event's own; all of them count by the event's weight. Scores are logits.

    Args:
      objective: what is predicted.
      dimension: width of the embeddings.
      hidden: widths of the MLP's layers.
      negatives: drawn for each event, for `click`.
      dropout: of the first layer while training.
    """

    tables: ClassVar[dict[str, VocabularyName]] = {
        "item_embedding": "items",
        "item_bias": "items",
        "key_embedding": "keys",
    }

    def __init__(
        self,
        sizes: TableSizes,
        history_length: int,
        objective: Objective = "rating",
        dimension: int = 32,
        hidden: Sequence[int] = (64, 32),
        negatives: int = _NEGATIVES,
        dropout: float = 0.0,
    ) -> None:
        if objective not in ("rating", "click"):
            raise TypeError(f"objective must be 'rating' or 'click', not {objective!r}")
        if objective == "rating" and negatives != _NEGATIVES:
            raise TypeError(
                f"negatives has an effect with objective 'click' only, and must be left out, not {negatives}"
            )
        super().__init__(sizes, history_length)
        self.objective = objective
        self.negatives = negatives
        self.item_embedding = item_table(sizes, dimension, stddev=dimension**-0.5)
        self.item_bias = item_table(sizes, 1, stddev=0.0)
        self.key_embedding = key_table(sizes, dimension)
        self.pooling = HistoryPooling(history_length)
        self.key_part = _dense(hidden[0], 2 * dimension)
        self.item_part = _dense(hidden[0], dimension)
        self.mlp = keras.Sequential([keras.layers.Dense(width, "relu") for width in hidden[1:]])
        self.mlp.add(keras.layers.Dense(1))
        self.mlp.build([None, hidden[0]])
        self.dropout = keras.layers.Dropout(dropout)
        # Count, mean and mean square of all weights trained on.
        self.moments = self.add_weight("moments", [3], initializer="zeros", trainable=False)
        self.index: tf.Variable | None = None
        loss = (
            keras.losses.MeanSquaredError()
            if objective == "rating"
            else keras.losses.BinaryCrossentropy(from_logits=True, reduction=keras.losses.Reduction.SUM)
        )
        self.task = tfrs.tasks.Ranking(loss=loss)

    @classmethod
    def metric_names(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        return ("auc",) if params.get("objective") == "click" else ("rmse",)

    @classmethod
    def weight_role(cls, params: Mapping[str, Any]) -> WeightRole:
        return "loss" if params.get("objective") == "click" else "label"

    def query(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        """The first layer's part of int64 [b] keys and [b, h] histories: float32 [b, hidden]."""
        pooled = self.pooling(history, self.item_embedding(history))
        return self.key_part(tf.concat([self.key_embedding(key), pooled], axis=1))

    def candidate(self, item: tf.Tensor) -> tf.Tensor:
        """The first layer's part of int64 [..., n] item rows, and their biases last: float32 [..., n, hidden + 1]."""
        if self.index is not None:
            return gather(self.index, item)
        return tf.concat([self.item_part(self.item_embedding(item)), self.item_bias(item)], axis=-1)

    def score_all(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        index = self.candidate(self._catalogue()) if self.index is None else self.index
        # A query at a time: the hidden layer of a whole batch against a whole catalogue does not fit into memory.
        scores = tf.map_fn(lambda query: self._join(query[None, :], index[None, :, :])[0], self.query(key, history))
        return self._unscale(scores)

    def score(self, key: tf.Tensor, history: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        return self._unscale(self._join(self.query(key, history), self.candidate(candidates)))

    def freeze(self) -> None:
        """Computes the catalogue's half once. Training after it leaves `score_all` behind."""
        self.index = tf.Variable(self.candidate(self._catalogue()), trainable=False, name="index")

    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Mean over the batch: of the weights' deviations squared for `rating`, weighted for `click`."""
        history, item = batch["history"], batch["item"]
        query = self.query(batch["key"], history)
        if self.objective == "rating":
            if training:
                self._observe(batch["weight"])
            mean, deviation = self._scale()
            predicted = self._join(query, self.candidate(item[:, None]), training)
            labels = ((batch["weight"] - mean) / deviation)[:, None]
            return self.task(labels=labels, predictions=predicted, compute_metrics=False)
        candidates = tf.concat([item[:, None], self._draw(tf.shape(item)[0])], axis=1)
        labels = tf.concat([tf.ones_like(item)[:, None], tf.zeros_like(candidates[:, 1:])], axis=1)
        positive = tf.reduce_any(candidates[:, 1:, None] == tf.concat([item[:, None], history], 1)[:, None, :], axis=2)
        use = tf.concat([tf.ones_like(item, tf.bool)[:, None], ~positive], axis=1)
        logits = self._join(query, self.candidate(candidates), training)
        weight = tf.boolean_mask(tf.maximum(batch["weight"], 0.0)[:, None] * tf.ones_like(logits), use)
        total = self.task(
            labels=tf.boolean_mask(labels, use)[:, None],
            predictions=tf.boolean_mask(logits, use)[:, None],
            sample_weight=weight,
            compute_metrics=False,
        )
        return tf.math.divide_no_nan(total, tf.reduce_sum(weight))

    def evaluate_positions(
        self, key: tf.Tensor, history: tf.Tensor, item: tf.Tensor, weight: tf.Tensor, k: int, exclude_seen: bool
    ) -> dict[str, tf.Tensor]:
        """The metric that `metric_names` names, float32 [b].

        `rmse` is the squared error of the weight; the root is taken of the mean. `auc` is the share of the catalogue
        that scores below the item, a tie as one half: the exact area under each position's curve, none sampled. An
        item without a row of its own can't be ranked and has `auc` 0.
        """
        key, history = self.known(key, self.sizes.keys), self.known(history, self.sizes.items)
        if self.objective == "rating":
            predicted = self.score(key, history, self.known(item, self.sizes.items)[:, None])[:, 0]
            return {"rmse": tf.square(predicted - weight)}
        seen = history if exclude_seen else None
        scores = mask_scores(self.score_all(key, history), self.sizes.first_row, seen, keep=item)
        return {"auc": _auc(scores, item, self.sizes.first_row)}

    def _join(self, query: tf.Tensor, candidates: tf.Tensor, training: bool = False) -> tf.Tensor:
        """float32 [b, c] from [b, hidden] queries and [b, c, hidden + 1] candidates."""
        first = self.dropout(tf.nn.relu(query[:, None, :] + candidates[:, :, :-1]), training=training)
        return self.mlp(first)[:, :, 0] + candidates[:, :, -1]

    def _draw(self, size: tf.Tensor) -> tf.Tensor:
        first = min(self.sizes.first_row, self.sizes.items - 1)  # where no item is admitted yet, one that is not
        return tf.random.uniform([size, self.negatives], first, self.sizes.items, tf.int64)

    def _observe(self, weight: tf.Tensor) -> None:
        """Takes a batch's weights into the running moments."""
        size = tf.cast(tf.size(weight), tf.float32)
        count = self.moments[0] + size
        change = tf.stack([tf.reduce_mean(weight), tf.reduce_mean(tf.square(weight))]) - self.moments[1:]
        self.moments.assign(tf.concat([[count], self.moments[1:] + change * size / count], axis=0))

    def _scale(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and deviation of the weights; 1 for the latter where all are one."""
        mean = self.moments[1]
        variance = self.moments[2] - tf.square(mean)
        return mean, tf.sqrt(tf.where(variance > 1e-6, variance, tf.ones_like(variance)))

    def _unscale(self, scores: tf.Tensor) -> tf.Tensor:
        if self.objective == "click":
            return scores
        mean, deviation = self._scale()
        return mean + deviation * scores

    def _catalogue(self) -> tf.Tensor:
        return tf.range(self.sizes.items, dtype=tf.int64)


def _dense(width: int, inputs: int) -> keras.layers.Dense:
    layer = keras.layers.Dense(width)
    layer.build([None, inputs])
    return layer


def _auc(scores: tf.Tensor, target: tf.Tensor, first_row: int) -> tf.Tensor:
    """float32 [b] from [b, item_rows] masked scores and int64 [b] targets."""
    known = (target >= first_row) & (target < tf.shape(scores, out_type=tf.int64)[1])
    target_score = tf.gather(scores, tf.where(known, target, tf.zeros_like(target)), batch_dims=1)[:, None]
    available = scores > UNAVAILABLE
    won = tf.where(scores < target_score, 1.0, tf.where(scores == target_score, 0.5, 0.0)) * tf.cast(
        available, tf.float32
    )
    others = tf.reduce_sum(tf.cast(available, tf.float32), axis=1) - 1.0
    auc = tf.math.divide_no_nan(tf.reduce_sum(won, axis=1) - 0.5, others)
    return tf.where(known, auc, tf.zeros_like(auc))
