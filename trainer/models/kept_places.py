"""Places of a list that are kept for new items, as the gate has to see them."""

from __future__ import annotations

import numpy as np

from trainer.keras2 import tf
from trainer.metrics import UNAVAILABLE


class KeptPlaces:
    """So many of the first `k` places are for the best of the new items; the best of all others have the rest.

    Nothing changes where as many new items are among the first `k` by their scores. `serving.bundle.kept_places` has
    the same rule for the list itself.

    Attributes:
      new: bool [items].
      places: fewer than `k`.
      k: the places of the list that is judged.
    """

    def __init__(self, new: np.ndarray, places: int, k: int) -> None:
        self.new = tf.Variable(new, trainable=False, name="new")
        self.places, self.k = places, k

    def rank(self, scores: tf.Tensor, target: tf.Tensor, rank: tf.Tensor) -> tf.Tensor:
        """At which place each target is served, int64 [b], 0 is best; a tie counts against it.

        Args:
          scores: float32 [b, items], masked.
          target: int64 [b].
          rank: int64 [b], see `rank_of`, without any places kept.
        """
        size = tf.shape(scores, tf.int64)[1]
        known = target < size
        at = tf.where(known, target, tf.zeros_like(target))
        own = tf.gather(scores, at, batch_dims=1)[:, None]
        is_new = tf.gather(self.new, at) & known
        among_new = tf.where(self.new.read_value(), scores, UNAVAILABLE)
        best = tf.math.top_k(among_new, tf.minimum(self.places, tf.shape(scores)[1])).values
        kept = tf.reduce_sum(tf.cast(best > UNAVAILABLE, tf.int64), axis=1)
        # As in `rank_of`: what is not lower is before it, itself left out.
        itself = tf.cast(is_new, tf.int64)
        ahead = tf.reduce_sum(tf.cast(~(among_new < own), tf.int64), axis=1) - itself
        is_kept = is_new & (ahead < kept)
        kept_ahead = tf.minimum(ahead, kept)
        others_ahead = rank - kept_ahead
        free = self.k - kept
        within = others_ahead < free
        served = tf.where(within, rank, kept + others_ahead)
        served = tf.where(is_kept, kept_ahead + tf.minimum(others_ahead, free), served)
        return tf.where(rank < size, served, rank)
