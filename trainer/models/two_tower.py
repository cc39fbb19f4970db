"""Two-tower retrieval: a key and its history on one side, an item on the other, and a dot product between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from trainer.compiled_step import Dropout, is_compiled, uniform
from trainer.features.declaration import OF_ITEMS, OF_NUMBERS, OF_WORDS, Feature
from trainer.features.query_values import row_of
from trainer.keras2 import keras, tf
from trainer.metrics import UNAVAILABLE, mask_scores, weighted_mean
from trainer.models import catalogue_blocks
from trainer.models.attribution import Attribution
from trainer.models.base import TableSizes, VocabularyName, WeightRole
from trainer.models.catalogue_blocks import InBlocks, LiveItems
from trainer.models.feature_tower import FeatureTower
from trainer.models.frozen_items import DotProduct, FrozenItems
from trainer.models.layers import HistoryPooling, Popularity, item_table, key_table
from trainer.models.query_tower import QueryTower, masked
from trainer.models.retrieval_task import RetrievalTask
from trainer.models.softmax_in_blocks import softmax_losses
from trainer.models.with_features import WithFeatures
from trainer.precision import built_in
from trainer.replicas import across, everyones


class TwoTower(WithFeatures):
    """score(key, history, item) = <scale * pooled(history) + u_key, v_item> + slope * log popularity(item).

    Histories and items share one embedding, so that an item is close to what it occurs with. Popularity is told and
    not learned (a learned bias lags behind the day); what remains to be learned is what this key wants beyond it. Both
    terms are one dot product, so that an index over `candidate` answers `score`.

    Trained with TFRS's Retrieval task on a sampled softmax:

    * the candidates are the batch's own items and `negatives` drawn evenly from the catalogue, which reach the items
      that a batch seldom holds (Yang et al. 2020, "Mixed negative sampling for learning two-tower neural networks in
      recommendations", section 3.2);
    * logits are corrected by the probability that such a draw holds the item (Yi et al. 2019, "Sampling-bias-corrected
      neural modeling for large corpus item recommendations", eq. 3);
    * a candidate that is a row's own item again is no negative of it (accidental hits);
    * popularity is told with today's events in it, so an event's own count is taken out before it is predicted.

    Args:
      dimension: width of the embeddings.
      negatives: candidates drawn from the catalogue for each batch.
      key_embedding: whether a key has a vector of its own. False where keys are sessions, which do not come back.
      dropout: of the wanted vector while training.
      launch_prior: whether an item with few events has the popularity that its features, its age and those events let
        expect (see `LaunchPrior`); without features there is none.
      features: of items; with them v_item is what its id has learned and what its features say (see `FeatureTower`).
        With none of a catalogue, an empty list, it is zero before an item has events.
      query_features: of key and context; with them g(features) is added to u_key (see `QueryTower`).
    """

    vectors = "whole"
    shares_steps = True
    item_feature_kinds = OF_ITEMS
    query_feature_kinds = OF_WORDS | OF_NUMBERS
    tables: ClassVar[dict[str, VocabularyName]] = {
        "item_embedding": "items",
        "key_embedding": "keys",
        "popularity/counts": "items",
    }

    def __init__(
        self,
        sizes: TableSizes,
        history_length: int,
        dimension: int = 64,
        negatives: int = 1000,
        key_embedding: bool = True,
        dropout: float = 0.0,
        launch_prior: bool = True,
        features: Sequence[Feature] | None = None,
        query_features: Sequence[Feature] | None = None,
    ) -> None:
        if negatives < 1:
            raise TypeError(f"negatives must be at least 1, not {negatives}")
        super().__init__(sizes, history_length)
        self.negatives = negatives
        self.item_embedding = item_table(sizes, dimension, stddev=0.8 * dimension**-0.5)
        self.key_embedding = key_table(sizes, dimension) if key_embedding else None
        self.item_features = (
            FeatureTower(features, sizes, dimension, launch_prior and bool(features)) if features is not None else None
        )
        self.query_features = QueryTower(query_features, sizes, dimension) if query_features else None
        self.pooling = HistoryPooling(history_length)
        self.popularity = Popularity(sizes.items)
        self.history_scale = self.add_weight("history_scale", [], initializer="ones")
        self.slope = self.add_weight("slope", [], initializer="ones")
        self.dropout = Dropout(dropout)
        self.served: FrozenItems | None = None
        # The sum: Keras divides by the number of rows, whatever their weights.
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, reduction=keras.losses.Reduction.SUM)
        with built_in("float32"):
            self.task = RetrievalTask(loss=loss, remove_accidental_hits=True, name="retrieval")

    @classmethod
    def weight_role(cls, params: Mapping[str, Any]) -> WeightRole:
        return "loss"

    def set_popularity(self, recent: np.ndarray) -> None:
        self.popularity.assign(recent)

    def log_popularity(self, item: tf.Tensor, without: float = 0.0) -> tf.Tensor:
        """Log popularity, float32 of the shape of int64 rows, `without` so many events of each."""
        prior = None if self.item_features is None else self.item_features.launches
        return self.popularity.log(item, without, prior)

    def item_vectors(self, item: tf.Tensor) -> tf.Tensor:
        """v_item without popularity, float32 [..., dimension], for int64 rows of any shape."""
        if self.served is not None:
            return self.served.table(item)
        own = self.item_embedding(item)
        return own if self.item_features is None else self.item_features(item, own)

    def query(self, key: tf.Tensor, history: tf.Tensor, training: bool = False) -> tf.Tensor:
        """float32 [b, dimension + 1] for int64 [b] keys and [b, h] histories; the last meets log popularity."""
        query_vector = self.history_scale * self.pooling(history, self.item_vectors(history))
        if self.key_embedding is not None:
            query_vector += self.key_embedding(row_of(key))
        if self.query_features is not None:
            query_vector += self.query_features(key)
        query_vector = self.dropout(query_vector, training=training)
        return tf.concat([query_vector, self.slope * tf.ones_like(query_vector[:, :1])], axis=1)

    def candidate(self, item: tf.Tensor, without: float = 0.0) -> tf.Tensor:
        """float32 [n, dimension + 1] for int64 [n] item rows, `without` so many events of each in its popularity."""
        return tf.concat([self.item_vectors(item), self.log_popularity(item, without)[:, None]], axis=1)

    def score_all(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        if self.served is not None:
            return self.served.scores(self.query(key, history))
        query = self.query(key, history)
        if self.item_features is not None:
            return tf.matmul(query, self.candidate(self._catalogue()), transpose_b=True)
        popular = query[:, -1:] * self.log_popularity(self._catalogue())
        return tf.matmul(query[:, :-1], self.item_embedding.embeddings, transpose_b=True) + popular

    def score(self, key: tf.Tensor, history: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        rows = tf.reshape(candidates, [-1])
        vectors = self.candidate(rows) if self.served is None else self.served.vectors(rows)
        shape = tf.concat([tf.shape(candidates), tf.shape(vectors)[1:]], axis=0)
        return tf.einsum("bd,bcd->bc", self.query(key, history), tf.reshape(vectors, shape))

    def shares(self, key: tf.Tensor, history: tf.Tensor, item: tf.Tensor) -> Attribution:
        """An event's share is <its part of the pooled history, v_item>; beside it stand the key's and popularity."""
        item_vector = self.item_vectors(item)[0]
        weights = self.history_scale * self.pooling.length(history) * self.pooling.weights_of(history)
        events = weights[0] * tf.linalg.matvec(self.item_vectors(history)[0], item_vector)
        rest = {"popularity": float(self.slope * self.log_popularity(item)[0])}
        if self.key_embedding is not None:
            rest["the user's own vector"] = float(tf.reduce_sum(self.key_embedding(row_of(key))[0] * item_vector))
        if self.query_features is not None:
            rest["features of user and context"] = float(tf.reduce_sum(self.query_features(key)[0] * item_vector))
        of_item = {}
        if self.item_features is not None:
            wanted = self.query(key, history)[0, :-1]
            of_item = self.item_features.products(wanted, item, self.item_embedding(item))
        return Attribution("linear", events.numpy().astype(np.float64), rest, of_item)

    def freeze(self) -> None:
        """Computes log popularity, and what features add to items, once. Training after it leaves that behind."""
        offset = self.log_popularity(self._catalogue())
        table = self.item_embedding.embeddings
        if self.item_features is not None:
            table = tf.Variable(self.item_vectors(self._catalogue()), trainable=False, name="items")
        self.served = FrozenItems(table, offset)

    @property
    def dot_product(self) -> DotProduct | None:
        return None if self.served is None else DotProduct(self.served, self.query, whole=True)

    @property
    def in_blocks(self) -> InBlocks:
        return InBlocks(LiveItems(self.candidate) if self.served is None else self.served, self.query)

    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Sampled softmax while training, the exact one over the catalogue otherwise. Weighted mean over the batch."""
        if training:
            # What has no row of its own can't be recommended, and how often a batch holds it is not known.
            admitted = batch["item"] >= self.sizes.first_row
            if is_compiled():
                return self._compiled_loss(batch, admitted)
            key, columns = masked(batch["key"], admitted), (batch[name] for name in ("history", "item", "weight"))
            history, item, weight = (tf.boolean_mask(column, admitted) for column in columns)
            weight = tf.maximum(weight, 0.0)
            drawn = self._draw()
            in_batch = everyones(item)
            ids = tf.concat([in_batch, drawn], axis=0)
            return self._softmax(
                self.query(key, history, training=True),
                tf.concat([self.candidate(in_batch, without=1.0), self.candidate(drawn)], axis=0),
                self._drawn_share(ids, tf.shape(in_batch)[0]),
                weight,
                ids,
            )
        item = batch["item"]
        known = tf.cast(item >= self.sizes.first_row, tf.float32)
        if self.sizes.items > catalogue_blocks.AT_ONCE:
            query = self.query(batch["key"], batch["history"])
            losses = softmax_losses(self.in_blocks.items, query, None, item, self.sizes.first_row, self.sizes.items)
        else:
            scores = mask_scores(self.score_all(batch["key"], batch["history"]), self.sizes.first_row, keep=item)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=item, logits=scores)
        return weighted_mean(losses, known * batch["weight"])

    def _compiled_loss(self, batch: dict[str, tf.Tensor], admitted: tf.Tensor) -> tf.Tensor:
        """The same over all rows of the batch: one that is not admitted has no weight and is no negative."""
        item, drawn = batch["item"], self._draw()
        ids = tf.concat([item, drawn], axis=0)
        query = self.query(batch["key"], batch["history"], training=True)
        vectors = tf.concat([self.candidate(item, without=1.0), self.candidate(drawn)], axis=0)
        barred = tf.concat([tf.where(admitted, 0.0, UNAVAILABLE), tf.zeros_like(drawn, tf.float32)], axis=0)
        return self._softmax(
            tf.concat([query, tf.ones_like(query[:, :1])], axis=1),
            tf.concat([vectors, barred[:, None]], axis=1),
            self._drawn_share(ids, tf.math.count_nonzero(admitted)),
            tf.maximum(batch["weight"], 0.0) * tf.cast(admitted, tf.float32),
            ids,
        )

    def _draw(self) -> tf.Tensor:
        """int64 [negatives] item rows, drawn evenly from the catalogue."""
        first = min(self.sizes.first_row, self.sizes.items - 1)  # where no item is admitted yet, one that is not
        return uniform([self.negatives], first, self.sizes.items, tf.int64)

    def _softmax(
        self, query: tf.Tensor, candidates: tf.Tensor, drawn_share: tf.Tensor, weight: tf.Tensor, ids: tf.Tensor
    ) -> tf.Tensor:
        """The mean by weights [b] of the losses of [b, d] queries, each of which wants the candidate of its row.

        Args:
          candidates: float32 [b + negatives, d], ids and how probable each is among them [b + negatives].
        """
        total = self.task(
            query,
            candidates,
            candidate_sampling_probability=drawn_share,
            sample_weight=weight,
            candidate_ids=ids,
        )
        return tf.math.divide_no_nan(total, across(tf.reduce_sum(weight)))

    def _drawn_share(self, item: tf.Tensor, batch_size: tf.Tensor) -> tf.Tensor:
        """How probable each item is among a batch's items and the drawn ones together."""
        size = tf.cast(batch_size, tf.float32)
        even = self.negatives / max(self.sizes.items - self.sizes.first_row, 1)
        return (size * self.popularity.share(item) + even) / (size + self.negatives)

    def _catalogue(self) -> tf.Tensor:
        return tf.range(self.sizes.items, dtype=tf.int64)
