"""DCN-v2: a ranking model that crosses a key, its history, an item and what is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow_recommenders as tfrs

from trainer.compiled_step import uniform
from trainer.features.declaration import OF_ITEMS, OF_NUMBERS, OF_WORDS, Feature
from trainer.features.query_values import row_of
from trainer.keras2 import tf
from trainer.models.base import TableSizes, VocabularyName
from trainer.models.feature_tower import FeatureTower
from trainer.models.frozen_items import gather
from trainer.models.layers import HistoryPooling, Popularity, item_table, key_table
from trainer.models.query_tower import QueryTower
from trainer.models.ranker import NEGATIVES, Objective, Ranker, deep
from trainer.models.with_features import WithFeatures


class Dcn(Ranker, WithFeatures):
    """score(key, history, item) = MLP(crosses(x)) + bias of the item, x = [u_key, pooled(history), E[item], features].

    x_{l+1} = x_0 * (V_l U_l x_l + b_l) + x_l, an element each (Wang et al., "DCN V2: Improved deep & cross network and
    practical lessons for web-scale learning to rank systems", WWW 2021, eq. 1 and 2, the stacked form of section 3.3),
    by `tfrs.layers.dcn.Cross`. Each feature, of item, key or context, has a vector of its own in x. For the objectives
    see `Ranker`; with `click` log popularity, which is told and not learned, is a part of the bias.

    Args:
      objective: what is predicted.
      dimension: width of each vector.
      crosses: how many cross layers.
      projection: width of the crosses' low-rank kernels; None for full ones.
      hidden: widths of the MLP's layers.
      negatives: drawn for each event, for `click`.
      key_embedding: whether a key has a vector of its own. False where keys are sessions, which do not come back.
      dropout: of the MLP's input while training.
      item_dropout: with features, how often an item goes without its id part while training, as one without events does
        (Volkovs, Yu and Poutanen, "DropoutNet: Addressing cold start in recommender systems", NeurIPS 2017, section 4).
      popularity: whether log popularity is a part of the bias, with `click`.
      features: of items; with them an item without events has no id part.
      query_features: of key and context.
    """

    item_feature_kinds = OF_ITEMS
    query_feature_kinds = OF_WORDS | OF_NUMBERS
    tables: ClassVar[dict[str, VocabularyName]] = {
        "item_embedding": "items",
        "item_bias": "items",
        "key_embedding": "keys",
        "popularity/counts": "items",
    }

    def __init__(
        self,
        sizes: TableSizes,
        history_length: int,
        objective: Objective = "rating",
        dimension: int = 32,
        crosses: int = 2,
        projection: int | None = 32,
        hidden: Sequence[int] = (64, 32),
        negatives: int = NEGATIVES,
        key_embedding: bool = True,
        dropout: float = 0.0,
        item_dropout: float = 0.1,
        popularity: bool = True,
        features: Sequence[Feature] | None = None,
        query_features: Sequence[Feature] | None = None,
    ) -> None:
        super().__init__(sizes, history_length, objective, negatives, dropout)
        self.item_embedding = item_table(sizes, dimension, stddev=dimension**-0.5)
        self.item_bias = item_table(sizes, 1, stddev=0.0)
        self.key_embedding = key_table(sizes, dimension) if key_embedding else None
        self.item_features = FeatureTower(features, sizes, dimension) if features is not None else None
        self.query_features = QueryTower(query_features, sizes, dimension) if query_features else None
        self.width = dimension
        self.item_dropout = item_dropout
        self.pooling = HistoryPooling(history_length)
        self.popularity = Popularity(sizes.items) if popularity and objective == "click" else None
        width = (2 + key_embedding + len(features or ()) + len(query_features or ())) * dimension
        self.crosses = [
            tfrs.layers.dcn.Cross(projection_dim=projection, kernel_initializer="glorot_uniform", dtype="float32")
            for _ in range(crosses)
        ]
        self.mlp = deep(hidden, width)
        last = self.mlp.layers[-1].kernel
        last.assign(0.01 * last)  # next to nothing is said before anything is learned
        at_first = tf.zeros([1, width])
        for cross in self.crosses:
            cross(at_first)

    def set_popularity(self, recent: np.ndarray) -> None:
        if self.popularity is not None:
            self.popularity.assign(recent)

    def item_vectors(self, item: tf.Tensor) -> tf.Tensor:
        """What stands for items in a history, float32 [..., dimension], for int64 rows of any shape."""
        return tf.add_n(self._parts(item))

    def query(self, key: Any, history: tf.Tensor) -> tf.Tensor:
        """[u_key, pooled(history), features], float32 [b, q], for int64 [b] keys and [b, h] histories."""
        parts = [self.pooling(history, self.item_vectors(history))]
        if self.key_embedding is not None:
            parts.insert(0, self.key_embedding(row_of(key)))
        if self.query_features is not None:
            parts += [tf.broadcast_to(part, tf.shape(parts[0])) for part in self.query_features.parts(key)]
        return tf.concat(parts, axis=1)

    def candidate(self, item: tf.Tensor, without: tf.Tensor | float = 0.0) -> tf.Tensor:
        """[E[item], features, bias] of int64 [..., n] item rows, float32 [..., n, (1 + features) * dimension + 1]."""
        if self.index is not None:
            return gather(self.index, item)
        bias = self.item_bias(item)
        if self.popularity is not None:
            bias += self.popularity.log(item, without)[..., None]
        return tf.concat([*self._parts(item), bias], axis=-1)

    def join(self, query: tf.Tensor, candidates: tf.Tensor, training: bool = False) -> tf.Tensor:
        """float32 [b, c] from what `query` and `candidate` give."""
        vectors, bias = candidates[:, :, :-1], candidates[:, :, -1]
        if training and self.item_features is not None:
            kept = uniform(tf.shape(bias), 0, 1, tf.float32, of_rows=True) >= self.item_dropout
            own, known = tf.split(vectors, [self.width, -1], axis=-1)
            vectors = tf.concat([own * tf.cast(kept, tf.float32)[..., None], known], axis=-1)
        first = tf.concat([tf.repeat(query[:, None, :], tf.shape(bias)[1], axis=1), vectors], axis=-1)
        crossed = first
        for cross in self.crosses:
            crossed = cross(first, crossed)
        return self.mlp(self.dropout(crossed, training=training))[:, :, 0] + bias

    def _parts(self, item: tf.Tensor) -> list[tf.Tensor]:
        """The vectors of items, float32 [..., dimension] each, whose sum stands for an item in a history."""
        own = self.item_embedding(item)
        return [own] if self.item_features is None else self.item_features.parts(item, own)
