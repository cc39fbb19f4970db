"""Models that each break one clause of the contract."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from tests.trainer.small_model import Small, Speaking
from trainer.input_pipeline import Sequences
from trainer.keras2 import keras, tf
from trainer.metrics import mask_scores, rank_of, ranking_metrics
from trainer.models.attribution import Attribution
from trainer.models.base import TableSizes

_NUMBER = itertools.count()


class ForgetsItsSizes(Small):
    def __init__(self, sizes: TableSizes, history_length: int) -> None:
        super().__init__(sizes, 99)


class NamesNothing(Small):
    def __init__(self, sizes: TableSizes, history_length: int) -> None:
        super().__init__(sizes, history_length)
        layer = keras.layers.Dense(1)
        layer.build([None, 1])
        setattr(self, f"dense_{next(_NUMBER)}", layer)


class NamesNoTable(Small):
    tables: ClassVar[dict] = {"item": "items", "key": "keys", "popularity": "items"}


class NamesTheOtherVocabulary(Small):
    tables: ClassVar[dict] = {**Small.tables, "bias": "keys"}


class UnknownForm(Small):
    form: ClassVar[Any] = "sessions"


class LossOfEachPosition(Small):
    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        return tf.ones_like(batch["weight"]) * super().compute_loss(batch, training)


class NeedsAnItem(Small):
    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        known = tf.cast(batch["item"] >= self.sizes.first_row, tf.float32)
        return super().compute_loss(batch, training) / tf.reduce_mean(known)


class LearnsNoKey(Small):
    def score_all(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        return tf.zeros_like(key[:, None], tf.float32) + self.bias + self.item(history)[:, -1, :1]

    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        return super().compute_loss(batch, training) + 0.0 * tf.reduce_sum(self.key(batch["key"]))


class LearnsTheOpposite(Small):
    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        return super().compute_loss(batch, training) * (-1.0 if training else 1.0)


class NamesNoSuchRole(Small):
    @classmethod
    def weight_role(cls, params: Mapping[str, Any]) -> Any:
        return "important"


class WeighsNothing(Small):
    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        return super().compute_loss({**batch, "weight": tf.ones_like(batch["weight"])}, training)


class WeighsWhatIsLearnedAlone(Small):
    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        weight = batch["weight"] if training else tf.ones_like(batch["weight"])
        return super().compute_loss({**batch, "weight": weight}, training)


class SumsByWeights(Small):
    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        return super().compute_loss(batch, training) * tf.reduce_sum(tf.maximum(batch["weight"], 0.0))


class WeighsNoBatchOfZeros(Small):
    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        counts = tf.reduce_sum(tf.maximum(batch["weight"], 0.0))
        return super().compute_loss(batch, training) * counts / counts


class WeighsBelowNothing(Small):
    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        return super().compute_loss({**batch, "weight": tf.abs(batch["weight"])}, training)


class DrawsWithoutASeed(Small):
    def __init__(self, sizes: TableSizes, history_length: int) -> None:
        super().__init__(sizes, history_length)
        self.bias.assign(np.random.default_rng().normal(size=sizes.items))


class CountsBeside(Small):
    """Keeps what it has counted in an attribute."""

    counted = 0.0

    def observe(self, sequences: Sequences) -> None:
        self.counted += sequences.new_events

    def score_all(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        return super().score_all(key, history) + self.counted


class StartsAgain(Small):
    def observe(self, sequences: Sequences) -> None:
        self.bias.assign(tf.zeros_like(self.bias))


class RemembersTheFirstDay(Small):
    rows = 0

    def __init__(self, sizes: TableSizes, history_length: int) -> None:
        super().__init__(sizes, history_length)
        RemembersTheFirstDay.rows = self.rows or sizes.items

    def score_all(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        return super().score_all(key, history)[:, : self.rows]

    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        return tf.reduce_mean(tf.square(super().score_all(batch["key"], batch["history"])))


class ScoresOnlyItems(Small):
    def score_all(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        return super().score_all(key, history)[:, self.sizes.first_row :]

    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        return tf.reduce_mean(tf.square(self.score_all(batch["key"], batch["history"])))


class DividesByTheHistory(Small):
    def score_all(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        length = tf.reduce_sum(tf.cast(history > 0, tf.float32), axis=1, keepdims=True)
        return super().score_all(key, history) / length

    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        return tf.reduce_mean(tf.square(super().score_all(batch["key"], batch["history"])))


class ScoresTwoWays(Small):
    def score(self, key: tf.Tensor, history: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        return super().score(key, history, candidates) + tf.gather(self.bias, candidates)


class ComparesRequests(Small):
    def score_all(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        scores = super().score_all(key, history)
        return scores - tf.reduce_mean(scores, axis=0)


class DropsOut(Small):
    def score_all(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        return tf.nn.dropout(super().score_all(key, history), 0.5)


class AddsPadding(Small):
    def score_all(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        query = self.key(key) + tf.reduce_mean(self.item(history), axis=1)
        return tf.matmul(query, self.item.embeddings, transpose_b=True) * self.scale(tf.ones([1, 1])) + self.bias


class NamesAnotherMetric(Small):
    @classmethod
    def metric_names(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        return ("hit_rate",)


class _Evaluates(Small):
    """Evaluates by itself, as a subclass says."""

    def evaluate_positions(
        self, key: tf.Tensor, history: tf.Tensor, item: tf.Tensor, weight: tf.Tensor, k: int, exclude_seen: bool
    ) -> dict[str, tf.Tensor]:
        scores = mask_scores(self.score_all(key, history), self.sizes.first_row, keep=item)
        return ranking_metrics(rank_of(scores, item, self.sizes.first_row), k)


class MetricsAsMeans(Small):
    def evaluate_positions(self, *args: Any, **kwargs: Any) -> dict[str, tf.Tensor]:
        return {name: tf.reduce_mean(each) for name, each in super().evaluate_positions(*args, **kwargs).items()}


class LooksUpWhatItLacks(_Evaluates):
    pass


class RecommendsPadding(Small):
    def evaluate_positions(
        self, key: tf.Tensor, history: tf.Tensor, item: tf.Tensor, weight: tf.Tensor, k: int, exclude_seen: bool
    ) -> dict[str, tf.Tensor]:
        return {name: tf.ones_like(weight) for name in self.metric_names({})}


class ScoresWindowsAsPositions(Small):
    form: ClassVar[Literal["positions", "sequences"]] = "sequences"

    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        return tf.reduce_mean(tf.square(self.score_all(batch["key"], batch["history"])))


class RepresentsEachEvent(Speaking):
    def represent(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        return self.item(history)


class ExplainsTooMuch(Small):
    def shares(self, key: tf.Tensor, history: tf.Tensor, item: tf.Tensor) -> Attribution:
        score = float(self.score(key, history, item[:, None])[0, 0])
        return Attribution("linear", np.zeros(self.history_length), {"everything": 1.0 + score})


class FreezesAnother(Small):
    def freeze(self) -> None:
        self.bias.assign(tf.round(self.bias))


class DeclaresVectors(Small):
    vectors: ClassVar[Literal["none", "part", "whole"]] = "whole"


class ReadsValues(Small):
    def score_all(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        scores = super().score_all(key, history)
        if tf.executing_eagerly():
            return scores
        return scores * history.numpy().any() if self.frozen else scores

    frozen = False

    def freeze(self) -> None:
        self.frozen = True


class NoRecommender(keras.Model):
    """Takes no sizes and gives no score."""
