"""Places of a list that are kept for new items."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from serving.bundle.protocols import UNAVAILABLE


@dataclasses.dataclass(frozen=True)
class KeptPlaces:
    """`places` of the first `k` of each list are for the best of the items that are `new`, bool [items] of row order.

    The best of all others have the rest, and both stand in the order of their scores. Where as many new items are among
    the first `k` anyhow nothing changes. What had a place without this follows at place `k`.
    """

    new: np.ndarray
    places: int
    k: int

    def order(self, scores: np.ndarray, new: np.ndarray) -> np.ndarray:
        """Rows in the order in which they are served, int64 [items], of float [items] scores and bool [items] `new`."""
        by_score = np.argsort(-scores, kind="stable")
        kept = by_score[new[by_score] & (scores[by_score] > UNAVAILABLE)][: self.places]
        first = np.isin(by_score, np.concatenate([kept, by_score[~np.isin(by_score, kept)][: self.k - len(kept)]]))
        return np.concatenate([by_score[first], by_score[~first]])


def served(
    listed: tuple[tf.Tensor, tf.Tensor], new: tuple[tf.Tensor, tf.Tensor], k: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The list in which new items have their places.

    Args:
      listed: rows int64 [b, n] and their scores, best first.
      new: the best of the new items alone, likewise [b, p]; UNAVAILABLE where there are fewer.
      k: int32 [b], of how many places.
    """
    size, places = tf.shape(listed[0])[1], tf.shape(new[0])[1]
    there = new[1] > UNAVAILABLE
    is_kept = tf.reduce_any((listed[0][:, :, None] == new[0][:, None, :]) & there[:, None, :], axis=2)
    again = tf.reduce_any(new[0][:, :, None] == listed[0][:, None, :], axis=2)
    rows = tf.concat([listed[0], new[0]], axis=1)
    scores = tf.concat([listed[1], tf.where(again, UNAVAILABLE, new[1])], axis=1)
    kept = tf.minimum(tf.reduce_sum(tf.cast(there, tf.int32), axis=1), k)
    # The kept, and as many of the others as there is room for; then by score within both.
    other = tf.cumsum(tf.cast(~is_kept, tf.int32), axis=1) <= (k - kept)[:, None]
    rank_new = tf.broadcast_to(tf.range(places), tf.shape(new[0])) < k[:, None]
    first = tf.concat([is_kept | other, there & ~again & rank_new], axis=1)
    order = tf.argsort(scores, axis=1, direction="DESCENDING", stable=True)
    order = tf.gather(
        order, tf.argsort(tf.cast(~tf.gather(first, order, batch_dims=1), tf.int32), stable=True), batch_dims=1
    )
    order = order[:, :size]
    return tf.gather(rows, order, batch_dims=1), tf.gather(scores, order, batch_dims=1)
