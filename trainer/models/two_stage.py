"""Retrieval and ranking in one model: a dot product finds candidates, a network of crosses puts them in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from trainer.features.declaration import Feature
from trainer.features.item_features import ItemFeatures
from trainer.features.launches import Launches
from trainer.keras2 import tf
from trainer.metrics import mask_scores
from trainer.models.base import Recommender, TableSizes, VocabularyName, WeightRole
from trainer.models.dcn import Dcn
from trainer.models.two_tower import TwoTower

_STAGES: dict[str, type[Recommender]] = {"retrieval": TwoTower, "ranking": Dcn}
_HARDER_OF = 16  # for each negative so many are drawn, of which retrieval's best are taken


class TwoStage(Recommender):
    """The best `candidates` by `TwoTower`, ordered by `Dcn`; all others follow in the order of retrieval.

    (Covington, Adams and Sargin, "Deep neural networks for YouTube recommendations", RecSys 2016, section 2.) Both
    stages learn from each event. What ranking is for:

    * `click`: a candidate's score is that of retrieval, weighed, and what the crosses add. They learn it against
      items that retrieval takes for good ones: the best of those drawn.
    * `rating`: candidates are in the order of their predicted rating, on the scale of the weights.

    Args:
      retrieval: parameters of `TwoTower`.
      ranking: parameters of `Dcn`; its objective is `click` unless said otherwise.
      candidates: how many are ranked. Items that are withdrawn, or in the history and left out, are among them.
      features: of items, for both stages.
      query_features: of key and context, for both.
    """

    item_feature_kinds = Dcn.item_feature_kinds & TwoTower.item_feature_kinds
    query_feature_kinds = Dcn.query_feature_kinds & TwoTower.query_feature_kinds
    tables: ClassVar[dict[str, VocabularyName]] = {
        f"{stage}/{path}": name for stage, model in _STAGES.items() for path, name in model.tables.items()
    }

    def __init__(
        self,
        sizes: TableSizes,
        history_length: int,
        retrieval: Mapping[str, Any] | None = None,
        ranking: Mapping[str, Any] | None = None,
        candidates: int = 200,
        features: Sequence[Feature] | None = None,
        query_features: Sequence[Feature] | None = None,
    ) -> None:
        if candidates < 1:
            raise TypeError(f"candidates must be at least 1, not {candidates}")
        if _objective(ranking) not in ("rating", "click"):
            raise TypeError(f"the objective of ranking must be 'rating' or 'click', not {_objective(ranking)!r}")
        super().__init__(sizes, history_length)
        self.candidates = candidates
        towers: dict[str, Any] = {"features": features, "query_features": query_features}
        self.retrieval = TwoTower(sizes, history_length, **(retrieval or {}), **towers)
        # Popularity is in retrieval's score: in both it would count twice.
        ranking = {"objective": "click", "popularity": False, **(ranking or {})}
        self.ranking = Dcn(sizes, history_length, **ranking, **towers)
        # How much of a click's score is retrieval's.
        self.share = self.add_weight("share", [], initializer="ones") if self._by_clicks else None

    @classmethod
    def metric_names(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        ranked = super().metric_names(params)
        return (*ranked, "rmse") if _objective(params.get("ranking")) == "rating" else ranked

    @classmethod
    def weight_role(cls, params: Mapping[str, Any]) -> WeightRole:
        return "label" if _objective(params.get("ranking")) == "rating" else "loss"

    @property
    def feature_tables(self) -> Mapping[str, str]:
        return {
            f"{stage}/{path}": name for stage in _STAGES for path, name in getattr(self, stage).feature_tables.items()
        }

    def set_features(self, features: ItemFeatures) -> None:
        self.retrieval.set_features(features)
        self.ranking.set_features(features)

    def set_knots(self, knots: Mapping[str, np.ndarray]) -> None:
        self.retrieval.set_knots(knots)
        self.ranking.set_knots(knots)

    def learn_launches(self, launches: Launches, spans: Sequence[tuple[int, np.ndarray]]) -> None:
        self.retrieval.learn_launches(launches, spans)

    def set_popularity(self, recent: np.ndarray) -> None:
        self.retrieval.set_popularity(recent)
        self.ranking.set_popularity(recent)

    def freeze(self) -> None:
        self.retrieval.freeze()
        self.ranking.freeze()

    def item_vectors(self, item: tf.Tensor) -> tf.Tensor:
        """Those of retrieval, float32 [..., dimension], for int64 rows of any shape."""
        return self.retrieval.item_vectors(item)

    def score_all(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        retrieved = mask_scores(self.retrieval.score_all(key, history), self.sizes.first_row)
        best = tf.math.top_k(retrieved, min(self.candidates, self.sizes.items - self.sizes.first_row))
        ranked = self._ranked(key, history, tf.cast(best.indices, tf.int64), best.values)
        # What is not ranked comes after what is, as far behind it as retrieval has it.
        last = tf.reduce_min(ranked, axis=1, keepdims=True) - 1.0
        others = last + retrieved - tf.reduce_min(best.values, axis=1, keepdims=True)
        row = tf.broadcast_to(tf.range(tf.shape(best.indices)[0])[:, None], tf.shape(best.indices))
        return tf.tensor_scatter_nd_update(others, tf.stack([row, best.indices], axis=-1), ranked)

    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """The sum of both stages' losses."""
        if not self._by_clicks:
            alike = {**batch, "weight": tf.ones_like(batch["weight"])}  # a bad rating is an event as well
            return self.retrieval.compute_loss(alike, training) + self.ranking.compute_loss(batch, training)
        return self.retrieval.compute_loss(batch, training) + self._loss_of_clicks(batch, training)

    def evaluate_positions(
        self, key: tf.Tensor, history: tf.Tensor, item: tf.Tensor, weight: tf.Tensor, k: int, exclude_seen: bool
    ) -> dict[str, tf.Tensor]:
        """The metrics of the list, and of `rating` the squared error of the weight, whose mean's root is `rmse`."""
        metrics = super().evaluate_positions(key, history, item, weight, k, exclude_seen)
        if not self._by_clicks:
            key, history = self.known(key, self.sizes.keys), self.known(history, self.sizes.items)
            predicted = self.ranking.score(key, history, self.known(item, self.sizes.items)[:, None])[:, 0]
            metrics["rmse"] = tf.square(predicted - weight)
        return metrics

    @property
    def _by_clicks(self) -> bool:
        return self.ranking.objective == "click"

    def _ranked(
        self,
        key: tf.Tensor,
        history: tf.Tensor,
        candidates: tf.Tensor,
        retrieved: tf.Tensor,
        training: bool = False,
        without: tf.Tensor | float = 0.0,
    ) -> tf.Tensor:
        """float32 [b, c] of int64 [b, c] candidates and what retrieval makes of them."""
        if self.share is None:
            return self.ranking.score(key, history, candidates)
        rows = self.ranking.candidate(candidates, without)
        return self.share * retrieved + self.ranking.join(self.ranking.query(key, history), rows, training)

    def _loss_of_clicks(self, batch: dict[str, tf.Tensor], training: bool) -> tf.Tensor:
        key, history, item = batch["key"], batch["history"], batch["item"]
        count = self.ranking.negatives
        drawn = self.ranking.draw(tf.shape(item)[0], count * _HARDER_OF)
        scores = tf.where(
            self.ranking.is_positive(drawn, history, item), -np.inf, self.retrieval.score(key, history, drawn)
        )
        hard = tf.math.top_k(scores, count)
        candidates = tf.concat([item[:, None], tf.gather(drawn, hard.indices, batch_dims=1)], axis=1)
        own = tf.one_hot(tf.zeros_like(item), count + 1)
        retrieved = tf.stop_gradient(self.retrieval.score(key, history, candidates))
        logits = self._ranked(key, history, candidates, retrieved, training, own)
        # What retrieval would not have found is not there to be ranked. Taken in, it would teach that a high score of
        # retrieval speaks against an item: those drawn have been chosen by it.
        reached = tf.cast(retrieved[:, 0] >= tf.reduce_min(hard.values, axis=1), tf.float32)
        return self.ranking.loss_of_clicks(logits, candidates, history, item, batch["weight"] * reached)


def _objective(ranking: Mapping[str, Any] | None) -> str:
    return (ranking or {}).get("objective", "click")
