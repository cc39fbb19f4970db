"""The softmax over a catalogue, estimated from a few of its items."""

from __future__ import annotations

import dataclasses

from trainer.keras2 import tf


@dataclasses.dataclass(frozen=True)
class Candidates:
    """The items that a batch is scored against.

    Attributes:
      rows: int64 [c], item rows, each once.
      log_weight: float32 [c], how many items of the catalogue each stands for, as a logarithm.
      places: int64, where in `rows` each of the batch's items is; of the shape of what was given to `draw`.
    """

    rows: tf.Tensor
    log_weight: tf.Tensor
    places: tf.Tensor


def draw(batch_rows: tf.Tensor, share: tf.Tensor, items: int, first_row: int, negatives: int) -> Candidates:
    """The batch's own items and `negatives` drawn evenly from the catalogue, each item once.

    An item with share p of the events is among the batch's m with probability 1 - (1 - p)^m, and among the drawn ones
    with 1 - (1 - 1/n)^negatives; one over the probability that either holds it is its weight in the sum over the
    catalogue (Horvitz and Thompson, "A generalization of sampling without replacement from a finite universe", JASA
    47, 1952; in the logits it is the logQ correction of Yi et al., "Sampling-bias-corrected neural modeling for large
    corpus item recommendations", RecSys 2019, eq. 3).

    Args:
      batch_rows: int64 of any shape, item rows; 0 pads.
      share: float32 [items], the share of events of each item.
      items, first_row: rows of the table, and the first that can be recommended.
      negatives: how many are drawn.
    """
    count = tf.cast(tf.math.count_nonzero(batch_rows), tf.float32)
    first = min(first_row, items - 1)  # where no item is admitted yet, one that is not
    drawn = tf.random.uniform([negatives], first, items, tf.int64)
    rows, places = tf.unique(tf.concat([tf.reshape(batch_rows, [-1]), drawn], axis=0), tf.int64)
    missed = count * tf.math.log1p(-tf.minimum(tf.gather(share, rows), 0.5))
    missed += negatives * tf.math.log1p(-1.0 / max(items - first, 2))
    log_weight = tf.where(rows >= first_row, -tf.math.log(-tf.math.expm1(missed)), UNWANTED)
    return Candidates(rows, log_weight, tf.reshape(places[: tf.size(batch_rows)], tf.shape(batch_rows)))


def whole_catalogue(batch_rows: tf.Tensor, items: int, first_row: int) -> Candidates:
    """Every item, for catalogues that are small enough: the softmax is exact."""
    rows = tf.range(items, dtype=tf.int64)
    return Candidates(rows, tf.where(rows >= first_row, 0.0, UNWANTED), batch_rows)


UNWANTED = -1e9  # the log weight of what can't be recommended


def losses(scores: tf.Tensor, candidates: Candidates, certain: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of each position, float32 [p].

    Args:
      scores: float32 [p, c] of the candidates.
      candidates: what was scored.
      certain: int64 [p, h], places among the candidates that a position holds whatever is drawn: its own history and
        its target, which therefore stand for themselves alone.
      target: int64 [p], the place of the item that came.
    """
    positions = tf.range(tf.shape(scores, tf.int64)[0])[:, None]
    at = tf.stack([tf.broadcast_to(positions, tf.shape(certain, tf.int64)), certain], axis=-1)
    weight = tf.broadcast_to(candidates.log_weight, tf.shape(scores))
    certain_weight = tf.minimum(tf.gather(candidates.log_weight, certain), 0.0)
    weight = tf.tensor_scatter_nd_update(weight, tf.reshape(at, [-1, 2]), tf.reshape(certain_weight, [-1]))
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=target, logits=scores + weight)
