"""Two-tower retrieval: a key and its history on one side, an item on the other, and a dot product between them."""

from __future__ import annotations

import numpy as np
import tensorflow_recommenders as tfrs

from trainer.keras2 import keras, tf
from trainer.metrics import mask_scores
from trainer.models.base import Recommender, TableSizes


class TwoTower(Recommender):
    """score(key, history, item) = <q, v> / temperature + slope * log popularity + bias.

    q is the normalised sum of the key's embedding and of the history's item embeddings, the latter weighted by a
    softmax over a learned bias for each distance to the present. v is the item's normalised embedding, so that
    histories and items share one space. Trained with TFRS's Retrieval task: in-batch softmax with the correction for
    sampling probability of Yi et al. (RecSys 2019, "Sampling-bias-corrected neural modeling for large corpus item
    recommendations", eq. 3), accidental hits removed.

    Args:
      dimension: width of the embeddings.
      temperature: divides the cosine.
      dropout: of the query vector while training.
    """

    tables = {"item_embedding": "items", "item_bias": "items", "popularity": "items", "key_embedding": "keys"}

    def __init__(
        self,
        sizes: TableSizes,
        history_length: int,
        dimension: int = 64,
        temperature: float = 0.1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(sizes, history_length)
        self.temperature = temperature
        noise = keras.initializers.RandomNormal(stddev=dimension**-0.5)
        self.item_embedding = keras.layers.Embedding(sizes.items, dimension, noise, name="item_embedding")
        self.key_embedding = keras.layers.Embedding(sizes.keys, dimension, "zeros", name="key_embedding")
        self.item_bias = keras.layers.Embedding(sizes.items, 1, "zeros", name="item_bias")
        for table in (self.item_embedding, self.key_embedding, self.item_bias):
            table.build(())
        self.distance_bias = self.add_weight("distance_bias", [history_length], initializer="zeros")
        self.popularity_slope = self.add_weight("popularity_slope", [], initializer="ones")
        self.popularity = self.add_weight("popularity", [sizes.items], initializer="zeros", trainable=False)
        self.dropout = keras.layers.Dropout(dropout)
        self.task = tfrs.tasks.Retrieval(
            loss=keras.losses.CategoricalCrossentropy(from_logits=True), remove_accidental_hits=True
        )

    def set_popularity(self, recent: np.ndarray) -> None:
        # One event spread over the catalogue: an item never seen is unlikely, not impossible.
        share = (recent + 1.0 / len(recent)) / (recent.sum() + 1.0)
        self.popularity.assign(share.astype(np.float32))

    def query(self, key: tf.Tensor, history: tf.Tensor, training: bool = False) -> tf.Tensor:
        """float32 [b, dimension + 2]: the last two meet the item's bias and log popularity."""
        present = history > 0
        bias = self.distance_bias[-tf.shape(history)[1] :]
        weights = tf.nn.softmax(tf.where(present, bias[None, :], -1e9), axis=1) * tf.cast(present, tf.float32)
        pooled = tf.einsum("bh,bhd->bd", weights, self.item_embedding(history))
        towards = tf.math.l2_normalize(pooled + self.key_embedding(key), axis=1, epsilon=1e-6)
        towards = self.dropout(towards, training=training) / self.temperature
        one = tf.ones_like(towards[:, :1])
        return tf.concat([towards, one, one * self.popularity_slope], axis=1)

    def candidate(self, item: tf.Tensor) -> tf.Tensor:
        """float32 [n, dimension + 2] for int64 [n] item rows."""
        towards = tf.math.l2_normalize(self.item_embedding(item), axis=1, epsilon=1e-6)
        log_popularity = tf.math.log(tf.gather(self.popularity, item))
        return tf.concat([towards, self.item_bias(item), log_popularity[:, None]], axis=1)

    def score_all(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        catalogue = self.candidate(tf.range(self.sizes.items, dtype=tf.int64))
        return tf.matmul(self.query(key, history), catalogue, transpose_b=True)

    def score(self, key: tf.Tensor, history: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        vectors = self.candidate(tf.reshape(candidates, [-1]))
        shape = tf.concat([tf.shape(candidates), tf.shape(vectors)[1:]], axis=0)
        return tf.einsum("bd,bcd->bc", self.query(key, history), tf.reshape(vectors, shape))

    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Sampled softmax while training, the exact one over the catalogue otherwise. Mean over the batch."""
        item = batch["item"]
        if training:
            return self.task(
                self.query(batch["key"], batch["history"], training=True),
                self.candidate(item),
                candidate_sampling_probability=tf.gather(self.popularity, item),
                candidate_ids=item,
                compute_metrics=False,
                compute_batch_metrics=False,
            )
        scores = mask_scores(self.score_all(batch["key"], batch["history"]), self.sizes.first_row, keep=item)
        known = tf.cast(item >= self.sizes.first_row, tf.float32)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=item, logits=scores)
        return tf.math.divide_no_nan(tf.reduce_sum(losses * known), tf.reduce_sum(known))
