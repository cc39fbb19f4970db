"""What models have in common that score a pair of a query and an item by a network."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import tensorflow_recommenders as tfrs

from trainer.compiled_step import Dropout, is_compiled, uniform
from trainer.keras2 import keras, tf
from trainer.metric_aggregation import labelled
from trainer.metrics import UNAVAILABLE, mask_scores
from trainer.models.base import Recommender, TableSizes, WeightRole
from trainer.models.position_pieces import in_pieces
from trainer.precision import built_in
from trainer.replicas import across, is_shared

Objective = Literal["rating", "click", "label"]
NEGATIVES = 4
_RANKED = ("recall", "ndcg", "mrr")


class Ranker(Recommender):
    """score(key, history, item) = join(query(key, history), candidate(item)).

    A subclass gives the three; `candidate` of the whole catalogue is computed once for all requests. Trained with
    TFRS's Ranking task:

    * `rating`: mean squared error on the event's weight. Weights are brought to mean 0 and deviation 1 by their
      running moments, so that the network need not learn the scale; scores are on the scale of the weights.
    * `click`: binary cross-entropy of the event's item against `negatives` items drawn evenly from the catalogue,
      neither of the history nor the event's own; all of them count by the event's weight. Scores are logits.
    * `label`: binary cross-entropy of whether the event's weight is above 0: shown and clicked, or not; seen and
      bought, or not. Scores are logits.

    Args:
      objective: what is predicted.
      negatives: drawn for each event, for `click`.
      dropout: of what `join` is given while training.
    """

    ranked: ClassVar[bool] = True  # whether it has the metrics of lists of items too

    def __init__(
        self, sizes: TableSizes, history_length: int, objective: Objective, negatives: int, dropout: float
    ) -> None:
        if objective not in ("rating", "click", "label"):
            raise TypeError(f"objective must be 'rating', 'click' or 'label', not {objective!r}")
        if objective != "click" and negatives != NEGATIVES:
            raise TypeError(
                f"negatives has an effect with objective 'click' only, and must be left out, not {negatives}"
            )
        super().__init__(sizes, history_length)
        self.objective = objective
        self.negatives = negatives
        self.dropout = Dropout(dropout)
        # Count, mean and mean square of all weights trained on.
        self.moments = self.add_weight(
            "moments",
            [3],
            initializer="zeros",
            trainable=False,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,  # what it is set to is the same with all
        )
        self.index: tf.Variable | None = None
        loss = (
            keras.losses.MeanSquaredError(reduction=keras.losses.Reduction.SUM)
            if objective == "rating"
            else keras.losses.BinaryCrossentropy(from_logits=True, reduction=keras.losses.Reduction.SUM)
        )
        with built_in("float32"):
            self.task = tfrs.tasks.Ranking(loss=loss)

    @classmethod
    def metric_names(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        """Of `label` those of a classifier: where an event may be no click, its place in a list is no merit."""
        objective = params.get("objective", "rating")
        own = {"rating": ("rmse",), "click": ("auc",), "label": ("roc_auc", "log_loss", "accuracy", "f1")}
        return own.get(objective, ()) + (_RANKED if cls.ranked and objective != "label" else ())

    @classmethod
    def weight_role(cls, params: Mapping[str, Any]) -> WeightRole:
        return "loss" if params.get("objective") == "click" else "label"

    @abc.abstractmethod
    def query(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        """The half of int64 [b] keys and [b, h] histories: float32 [b, q]."""

    @abc.abstractmethod
    def candidate(self, item: tf.Tensor, without: tf.Tensor | float = 0.0) -> tf.Tensor:
        """The half of int64 [..., n] item rows: float32 [..., n, v], looked up in `index` where there is one.

        `without` so many events of each in what is counted: an event must not be predicted by its own count.
        """

    @abc.abstractmethod
    def join(self, query: tf.Tensor, candidates: tf.Tensor, training: bool = False) -> tf.Tensor:
        """float32 [b, c] from [b, q] queries and [b, c, v] candidates."""

    def score_all(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        index = self.candidate(self.catalogue()) if self.index is None else self.index
        # A query at a time: the hidden layer of a whole batch against a whole catalogue does not fit into memory.
        scores = tf.map_fn(lambda query: self.join(query[None, :], index[None, :, :])[0], self.query(key, history))
        return self._unscale(scores)

    def score(self, key: tf.Tensor, history: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        return self._unscale(self.join(self.query(key, history), self.candidate(candidates)))

    def freeze(self) -> None:
        """Computes the catalogue's half once. Training after it leaves `score_all` behind."""
        self.index = tf.Variable(self.candidate(self.catalogue()), trainable=False, name="index")

    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Mean over the batch: of the weights' deviations squared for `rating`, weighted for `click`."""
        history, item, weight = batch["history"], batch["item"], batch["weight"]
        query = self.query(batch["key"], history)
        if self.objective == "click":
            candidates = tf.concat([item[:, None], self.draw(tf.shape(item)[0], self.negatives)], axis=1)
            own = tf.one_hot(tf.zeros_like(item), self.negatives + 1)
            logits = self.join(query, self.candidate(candidates, own), training)
            return self.loss_of_clicks(logits, candidates, history, item, weight)
        predicted = self.join(query, self.candidate(item[:, None]), training)
        if self.objective == "label":
            total = self.task(labels=_label(weight)[:, None], predictions=predicted, compute_metrics=False)
            return tf.math.divide_no_nan(total, across(tf.cast(tf.size(weight), tf.float32)))
        if training:
            self._observe(weight)
        mean, deviation = self._scale()
        labels = ((weight - mean) / deviation)[:, None]
        total = self.task(labels=labels, predictions=predicted, compute_metrics=False)
        return tf.math.divide_no_nan(total, across(tf.cast(tf.size(weight), tf.float32)))

    def evaluate_positions(
        self, key: tf.Tensor, history: tf.Tensor, item: tf.Tensor, weight: tf.Tensor, k: int, exclude_seen: bool
    ) -> dict[str, tf.Tensor]:
        """The metrics that `metric_names` names, float32 [b] each.

        `rmse` is the squared error of the weight, and `roc_auc` and `f1` are predictions beside what was observed: see
        `trainer.metric_aggregation` for what they come to. `auc` is the share of the catalogue that scores below the
        item, a tie as one half: the exact area under each position's curve, none sampled. An item without a row of its
        own can't be ranked and has `auc` 0.
        """
        key, history = self.known(key, self.sizes.keys), self.known(history, self.sizes.items)
        metrics = {}
        if self.objective != "click":
            predicted = self.score(key, history, self.known(item, self.sizes.items)[:, None])[:, 0]
            if self.objective == "label":
                return _of_labels(predicted, _label(weight))
            metrics["rmse"] = tf.square(predicted - weight)
            if not self.ranked:
                return metrics

        def listed(key: Any, history: tf.Tensor, item: tf.Tensor) -> dict[str, tf.Tensor]:
            seen = history if exclude_seen else None
            scores = mask_scores(self.score_all(key, history), self.sizes.first_row, seen, keep=item)
            area = {"auc": _auc(scores, item, self.sizes.first_row)} if self.objective == "click" else {}
            return area | (self.list_metrics(scores, item, k) if self.ranked else {})

        return metrics | in_pieces(listed, (key, history, item), self.sizes.items)

    def catalogue(self) -> tf.Tensor:
        """All rows of items, int64 [items]."""
        return tf.range(self.sizes.items, dtype=tf.int64)

    def draw(self, size: tf.Tensor, count: int) -> tf.Tensor:
        """int64 [size, count] item rows, drawn evenly from the catalogue."""
        first = min(self.sizes.first_row, self.sizes.items - 1)  # where no item is admitted yet, one that is not
        return uniform([size, count], first, self.sizes.items, tf.int64, of_rows=True)

    @staticmethod
    def is_positive(drawn: tf.Tensor, history: tf.Tensor, item: tf.Tensor) -> tf.Tensor:
        """Whether int64 [b, c] drawn rows are the event's own item [b] or of its history [b, h]: bool [b, c]."""
        return tf.reduce_any(drawn[:, :, None] == tf.concat([item[:, None], history], 1)[:, None, :], axis=2)

    def loss_of_clicks(
        self, logits: tf.Tensor, candidates: tf.Tensor, history: tf.Tensor, item: tf.Tensor, weight: tf.Tensor
    ) -> tf.Tensor:
        """The mean by weights [b] of the binary cross-entropy of logits [b, 1 + n]: the event's item, then drawn ones.

        A drawn one that is positive is passed over.
        """
        labels = tf.concat([tf.ones_like(logits[:, :1]), tf.zeros_like(logits[:, 1:])], axis=1)
        own = tf.ones_like(item, tf.bool)[:, None]
        use = tf.concat([own, ~self.is_positive(candidates[:, 1:], history, item)], axis=1)
        if is_compiled():
            weight = tf.reshape(tf.maximum(weight, 0.0)[:, None] * tf.cast(use, tf.float32), [-1])
            columns = {"labels": tf.reshape(labels, [-1, 1]), "predictions": tf.reshape(logits, [-1, 1])}
            total = self.task(**columns, sample_weight=weight, compute_metrics=False)
            return tf.math.divide_no_nan(total, tf.reduce_sum(weight))
        weight = tf.boolean_mask(tf.maximum(weight, 0.0)[:, None] * tf.ones_like(logits), use)
        total = self.task(
            labels=tf.boolean_mask(labels, use)[:, None],
            predictions=tf.boolean_mask(logits, use)[:, None],
            sample_weight=weight,
            compute_metrics=False,
        )
        return tf.math.divide_no_nan(total, across(tf.reduce_sum(weight)))

    def _observe(self, weight: tf.Tensor) -> None:
        """Takes a batch's weights into the running moments."""
        size = across(tf.cast(tf.size(weight), tf.float32))
        count = self.moments[0] + size
        if is_shared():
            means = across(tf.stack([tf.reduce_sum(weight), tf.reduce_sum(tf.square(weight))])) / size
        else:
            means = tf.stack([tf.reduce_mean(weight), tf.reduce_mean(tf.square(weight))])
        change = means - self.moments[1:]
        self.moments.assign(tf.concat([[count], self.moments[1:] + change * size / count], axis=0))

    def _scale(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and deviation of the weights; 1 for the latter where all are one."""
        mean = self.moments[1]
        variance = self.moments[2] - tf.square(mean)
        return mean, tf.sqrt(tf.where(variance > 1e-6, variance, tf.ones_like(variance)))

    def _unscale(self, scores: tf.Tensor) -> tf.Tensor:
        if self.objective != "rating":
            return scores
        mean, deviation = self._scale()
        return mean + deviation * scores


def dense(width: int, inputs: int) -> keras.layers.Dense:
    """A linear layer, built."""
    layer = keras.layers.Dense(width)
    layer.build([None, inputs])
    return layer


def deep(hidden: Sequence[int], inputs: int) -> keras.Sequential:
    """Hidden layers and a last one of width 1, built; what the last one gives is float32."""
    layers = keras.Sequential([keras.layers.Dense(width, "relu") for width in hidden])
    layers.add(keras.layers.Dense(1, dtype="float32"))
    layers.build([None, inputs])
    return layers


def _label(weight: tf.Tensor) -> tf.Tensor:
    return tf.cast(weight > 0, tf.float32)


def _of_labels(logits: tf.Tensor, label: tf.Tensor) -> dict[str, tf.Tensor]:
    """The metrics of a classifier at float32 [b] logits and labels."""
    predicted = labelled(tf.sigmoid(logits), label)
    return {
        "roc_auc": predicted,
        "log_loss": tf.nn.sigmoid_cross_entropy_with_logits(label, logits),
        "accuracy": tf.cast((logits > 0) == (label > 0), tf.float32),
        "f1": predicted,
    }


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
