"""Matrix factorization of who took what, in which a history is folded in on request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from trainer.compiled_step import uniform
from trainer.keras2 import tf
from trainer.metrics import weighted_mean
from trainer.models.attribution import Attribution
from trainer.models.base import Recommender, TableSizes, VocabularyName, WeightRole
from trainer.models.catalogue_blocks import InBlocks, LiveItems
from trainer.models.frozen_items import DotProduct, FrozenItems
from trainer.models.layers import Popularity, item_table, key_table
from trainer.precision import compute_dtype, matmul


class _Catalogue(NamedTuple):
    """Means over the items: of v v^T, [d, d], and of b v, [d]."""

    gramian: tf.Tensor
    moment: tf.Tensor


class MatrixFactorization(Recommender):
    """score(key, history, item) = b_item + <u, v_item>, by the squared loss of implicit feedback.

    An event says 1 of its item, and all items of the catalogue together say 0, `unobserved` times as loud:

        (1 - score_item)^2 + unobserved * mean_j score_j^2

    (Hu, Koren and Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008; in this form Rendle et
    al., "Revisiting the performance of iALS on item recommendation benchmarks", RecSys 2022, eq. 1 to 3, with the mean
    per event where they have it per user.)

    * b_item is what this loss says of an item when nobody is known: q / (q + unobserved / items), q being the item's
      share of recent events. It is told and not learned, so that it does not lag behind the day.
    * u is not stored but solved for, the row of the key being where the ridge pulls it:

          u = argmin_u  sum over the history of the loss + regularization * |u - u_key|^2
            = (sum v v^T + h * unobserved * G + regularization * I)^-1
              (sum (1 - b) v - h * unobserved * m + regularization * u_key)

      with G and m the means of v v^T and b v over the catalogue and h events: half a step of iALS. A key that nobody
      knows has u_key = 0 and is folded in from its history alone; what a known key wanted before its history is in its
      row.
    * v and u_key are learned by gradients through that solution, from day to day with the optimizer's slots, instead of
      by alternating over all history. Each step draws `negatives` items for the mean over the catalogue and for G
      (Krichene et al., "Efficient training on very large corpora via Gramian estimation", ICLR 2019, section 3): it
      costs what the batch holds.

    Args:
      dimension: d, the width of v and u.
      unobserved: how much the catalogue weighs beside an event.
      regularization: how strong the row of the key is beside an event.
      negatives: items drawn for each batch.
    """

    vectors = "whole"
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
        unobserved: float = 30.0,
        regularization: float = 1.0,
        negatives: int = 1000,
    ) -> None:
        if negatives < 1:
            raise TypeError(f"negatives must be at least 1, not {negatives}")
        if unobserved <= 0 or regularization <= 0:
            raise TypeError(f"unobserved and regularization must be above 0, not {unobserved} and {regularization}")
        super().__init__(sizes, history_length)
        self.unobserved, self.regularization, self.negatives = unobserved, regularization, negatives
        self.item_embedding = item_table(sizes, dimension, stddev=dimension**-0.5)
        self.key_embedding = key_table(sizes, dimension)
        self.popularity = Popularity(sizes.items)
        # The solution is float32: a matrix of half the bits need not be positive definite any more.
        self._low = compute_dtype()
        self.served: FrozenItems | None = None
        self.catalogue: _Catalogue | None = None

    @classmethod
    def weight_role(cls, params: Mapping[str, Any]) -> WeightRole:
        return "loss"

    def set_popularity(self, recent: np.ndarray) -> None:
        self.popularity.assign(recent)

    def offset(self, item: tf.Tensor, without: float = 0.0) -> tf.Tensor:
        """b, float32 of the shape of int64 rows, `without` so many events of each."""
        of_all = self.popularity.average * self.popularity.items
        share = tf.maximum(self.popularity.share(item) - without / of_all, 0.0)
        return share / (share + self.unobserved / max(self.sizes.items - self.sizes.first_row, 1))

    def represent(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        return self._folded_in(key, history, self._whole_catalogue())

    def score_all(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        if self.served is not None:
            return self.served.scores(self.query(key, history))
        users = self.represent(key, history)
        return tf.matmul(users, self.item_embedding.embeddings, transpose_b=True) + self.offset(self._rows())

    def score(self, key: tf.Tensor, history: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        if self.served is not None:
            return tf.einsum("bd,bcd->bc", self.query(key, history), self.served.vectors(candidates))
        users = self.represent(key, history)
        return tf.einsum("bd,bcd->bc", users, self.item_embedding(candidates)) + self.offset(candidates)

    def query(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        """float32 [b, d + 1]; the last meets b."""
        users = self.represent(key, history)
        return tf.concat([users, tf.ones_like(users[:, :1])], axis=1)

    def shares(self, key: tf.Tensor, history: tf.Tensor, item: tf.Tensor) -> Attribution:
        """An event's share is <(1 - b) v - unobserved * m, W v_item>, W the inverse (Hu et al. 2008, section 5)."""
        catalogue = self._whole_catalogue()
        precision, _, events = self._normal_equations(key, history, catalogue)
        weighed = tf.linalg.solve(precision, self._vectors(item)[:, :, None])[0, :, 0]
        key_vector = self.regularization * self.key_embedding(key)[0]
        rest = {
            "popularity": float(self._offsets(item)[0]),
            "the user's own vector": float(tf.reduce_sum(key_vector * weighed)),
        }
        return Attribution("ridge", tf.linalg.matvec(events[0], weighed).numpy().astype(np.float64), rest)

    def freeze(self) -> None:
        """Computes b, G and m once. Training after it leaves them behind."""
        gramian, moment = self._whole_catalogue()
        self.served = FrozenItems(self.item_embedding.embeddings, self.offset(self._rows()))
        self.catalogue = _Catalogue(
            tf.Variable(gramian, trainable=False, name="gramian"), tf.Variable(moment, trainable=False, name="moment")
        )

    @property
    def dot_product(self) -> DotProduct | None:
        return None if self.served is None else DotProduct(self.served, self.query, whole=True)

    @property
    def in_blocks(self) -> InBlocks:
        return InBlocks(LiveItems(self._candidates) if self.served is None else self.served, self.query)

    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """The loss above, over drawn items while training and over the whole catalogue otherwise. Weighted mean."""
        item = batch["item"]
        known = item >= self.sizes.first_row
        label = tf.where(known, item, tf.zeros_like(item))
        if training:
            first = min(self.sizes.first_row, self.sizes.items - 1)  # where no item is admitted yet, one that is not
            drawn = uniform([self.negatives], first, self.sizes.items, tf.int64)
            vectors, offsets = self.item_embedding(drawn), self.offset(drawn)
            # The same for all: a gradient through it would reach every item by every key.
            catalogue = _Catalogue(*map(tf.stop_gradient, _means(vectors, offsets)))
            users = self._folded_in(batch["key"], batch["history"], catalogue)
            # Popularity is told with the event in it that is to be predicted.
            target = self.offset(label, without=1.0) + tf.reduce_sum(users * self.item_embedding(label), axis=1)
            others = matmul(users, vectors, self._low, transpose_b=True) + offsets
            of_others = tf.reduce_mean(tf.square(others), axis=1)
        else:
            catalogue = self._whole_catalogue()
            users = self._folded_in(batch["key"], batch["history"], catalogue)
            target = self._offsets(label) + tf.reduce_sum(users * self._vectors(label), axis=1)
            # The mean of (<u, v> + b)^2 over the catalogue, multiplied out: no score of an item is needed.
            of_others = tf.reduce_sum(tf.matmul(users, catalogue.gramian) * users, axis=1)
            of_others += 2.0 * tf.linalg.matvec(users, catalogue.moment) + self._mean_square_offset()
        losses = tf.square(1.0 - target) + self.unobserved * of_others
        return weighted_mean(losses, tf.cast(known, tf.float32) * batch["weight"])

    def _folded_in(self, key: tf.Tensor, history: tf.Tensor, catalogue: _Catalogue) -> tf.Tensor:
        """u, float32 [b, d], for int64 [b] keys and [b, h] histories, 0 for none."""
        precision, wanted, _ = self._normal_equations(key, history, catalogue)
        return tf.linalg.cholesky_solve(tf.linalg.cholesky(precision), wanted[:, :, None])[:, :, 0]

    def _normal_equations(
        self, key: tf.Tensor, history: tf.Tensor, catalogue: _Catalogue
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """What u is the solution of, [b, d, d] and [b, d], and each event's part of the latter, [b, h, d]."""
        present = tf.cast(history > 0, tf.float32)[:, :, None]
        vectors = self._vectors(history) * present
        count = tf.reduce_sum(present, axis=1)
        ridge = self.regularization * tf.eye(vectors.shape[-1])
        precision = tf.matmul(vectors, vectors, transpose_a=True) + ridge
        precision += self.unobserved * count[:, :, None] * catalogue.gramian
        events = (1.0 - self._offsets(history)[:, :, None]) * vectors - present * self.unobserved * catalogue.moment
        return precision, tf.reduce_sum(events, axis=1) + self.regularization * self.key_embedding(key), events

    def _vectors(self, item: tf.Tensor) -> tf.Tensor:
        return self.item_embedding(item) if self.served is None else self.served.table(item)

    def _offsets(self, item: tf.Tensor) -> tf.Tensor:
        return self.offset(item) if self.served is None else tf.gather(self.served.offset.read_value(), item)

    def _candidates(self, item: tf.Tensor) -> tf.Tensor:
        """float32 [n, d + 1] for int64 [n] rows, which `query` meets."""
        return tf.concat([self.item_embedding(item), self.offset(item)[:, None]], axis=1)

    def _whole_catalogue(self) -> _Catalogue:
        if self.catalogue is not None:
            return self.catalogue
        rows = self._rows()[self.sizes.first_row :]
        return _means(self.item_embedding.embeddings[self.sizes.first_row :], self.offset(rows))

    def _mean_square_offset(self) -> tf.Tensor:
        rows = self._rows()[self.sizes.first_row :]
        return tf.math.divide_no_nan(tf.reduce_sum(tf.square(self._offsets(rows))), tf.cast(tf.size(rows), tf.float32))

    def _rows(self) -> tf.Tensor:
        return tf.range(self.sizes.items, dtype=tf.int64)


def _means(vectors: tf.Tensor, offsets: tf.Tensor) -> _Catalogue:
    """Of [n, d] vectors and [n] offsets; zeros where there are none."""
    count = tf.maximum(tf.cast(tf.shape(vectors)[0], tf.float32), 1.0)
    return _Catalogue(
        tf.matmul(vectors, vectors, transpose_a=True) / count,
        tf.linalg.matvec(vectors, offsets, transpose_a=True) / count,
    )
