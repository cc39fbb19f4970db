"""Ranking metrics over the whole catalogue, in the graph: no sampled negatives; and means by the events' weights."""

from __future__ import annotations

from trainer.keras2 import tf
from trainer.replicas import across

UNAVAILABLE = -1e30  # a score no real item has; finite, so that a softmax over masked scores stays finite


def mask_scores(
    scores: tf.Tensor, first_row: int, seen: tf.Tensor | None = None, keep: tf.Tensor | None = None
) -> tf.Tensor:
    """Puts rows that can't be recommended out of reach.

    Args:
      scores: float [b, item_rows].
      first_row: rows below it are padding and out-of-vocabulary.
      seen: int64 [b, h], rows to exclude too; 0 is ignored.
      keep: int64 [b], a row that stays though it was seen.

    Returns:
      float [b, item_rows].
    """
    batch, rows = tf.unstack(tf.shape(scores, out_type=tf.int64))
    available = tf.range(rows) >= first_row
    scores = tf.where(available[None, :], scores, UNAVAILABLE)
    if seen is None:
        return scores
    if keep is not None:
        seen = tf.where(seen == keep[:, None], tf.zeros_like(seen), seen)
    seen = tf.where(seen < rows, seen, tf.zeros_like(seen))
    owner = tf.broadcast_to(tf.range(batch)[:, None], tf.shape(seen))
    at = tf.reshape(tf.stack([owner, seen], axis=-1), [-1, 2])
    return tf.tensor_scatter_nd_update(scores, at, tf.fill([tf.shape(at)[0]], UNAVAILABLE))


def rank_of(scores: tf.Tensor, target: tf.Tensor, first_row: int) -> tf.Tensor:
    """How many items score at least as high as the target, without itself: 0 is the best rank.

    Ties count against the target, and so does a score that is not a number: a model which gives every item one score,
    or none, earns nothing.

    Args:
      scores: float [b, item_rows], masked.
      target: int64 [b]. A row that the table lacks, or that is out of vocabulary, has the worst rank.

    Returns:
      int64 [b].
    """
    rows = tf.shape(scores, out_type=tf.int64)[1]
    known = (target >= first_row) & (target < rows)
    target_score = tf.gather(scores, tf.where(known, target, tf.zeros_like(target)), batch_dims=1)
    better = tf.reduce_sum(tf.cast(~(scores < target_score[:, None]), tf.int64), axis=1) - 1
    return tf.where(known, better, tf.broadcast_to(rows, tf.shape(better)))


def ranking_metrics(rank: tf.Tensor, k: int) -> dict[str, tf.Tensor]:
    """recall@k, ndcg@k and mrr@k of one relevant item each, from its rank (0 is best). All float32 [b]."""
    hit = tf.cast(rank < k, tf.float32)
    place = tf.cast(rank, tf.float32)
    return {
        "recall": hit,
        "ndcg": hit * tf.math.log(2.0) / tf.math.log(place + 2.0),
        "mrr": hit / (place + 1.0),
    }


def weighted_mean(values: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """The mean of float32 [p] values by the weights [p] of their events: a scalar.

    A weight below 0 counts as 0: a loss that is to grow has no end. Where no weight is above 0 the mean is 0. Of
    replicas that share a step each has its part of the mean over all of them.
    """
    counts = tf.maximum(weight, 0.0)
    return tf.math.divide_no_nan(tf.reduce_sum(values * counts), across(tf.reduce_sum(counts)))
