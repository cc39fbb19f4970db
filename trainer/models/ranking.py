"""Ranking: an MLP over a key, its history and an item, for what a dot product can't say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from trainer.keras2 import tf
from trainer.models.base import TableSizes, VocabularyName
from trainer.models.frozen_items import gather
from trainer.models.layers import HistoryPooling, item_table, key_table
from trainer.models.ranker import NEGATIVES, Objective, Ranker, deep, dense


class Ranking(Ranker):
    """score(key, history, item) = MLP([u_key, pooled(history), v_item]) + bias of the item.

    The MLP's first layer is written as a sum of a key's part and an item's part, so that the catalogue's half is
    computed once for all requests. For the objectives see `Ranker`.

    Args:
      objective: what is predicted.
      dimension: width of the embeddings.
      hidden: widths of the MLP's layers.
      negatives: drawn for each event, for `click`.
      dropout: of the first layer while training.
    """

    ranked = False
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
        negatives: int = NEGATIVES,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(sizes, history_length, objective, negatives, dropout)
        self.item_embedding = item_table(sizes, dimension, stddev=dimension**-0.5)
        self.item_bias = item_table(sizes, 1, stddev=0.0)
        self.key_embedding = key_table(sizes, dimension)
        self.pooling = HistoryPooling(history_length)
        self.key_part = dense(hidden[0], 2 * dimension)
        self.item_part = dense(hidden[0], dimension)
        self.mlp = deep(hidden[1:], hidden[0])

    def query(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        """The first layer's part of int64 [b] keys and [b, h] histories: float32 [b, hidden]."""
        pooled = self.pooling(history, self.item_embedding(history))
        return tf.cast(self.key_part(tf.concat([self.key_embedding(key), pooled], axis=1)), tf.float32)

    def candidate(self, item: tf.Tensor, without: tf.Tensor | float = 0.0) -> tf.Tensor:
        """The first layer's part of int64 [..., n] item rows, and their biases last: float32 [..., n, hidden + 1]."""
        del without  # nothing is counted
        if self.index is not None:
            return gather(self.index, item)
        part = tf.cast(self.item_part(self.item_embedding(item)), tf.float32)
        return tf.concat([part, self.item_bias(item)], axis=-1)

    def join(self, query: tf.Tensor, candidates: tf.Tensor, training: bool = False) -> tf.Tensor:
        """float32 [b, c] from [b, hidden] queries and [b, c, hidden + 1] candidates."""
        first = self.dropout(tf.nn.relu(query[:, None, :] + candidates[:, :, :-1]), training=training)
        return self.mlp(first)[:, :, 0] + candidates[:, :, -1]
