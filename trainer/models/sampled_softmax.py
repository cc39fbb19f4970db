"""The softmax over a catalogue, estimated from a few of its items."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from trainer.compiled_step import is_compiled, uniform
from trainer.keras2 import tf
from trainer.replicas import across, everyones


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

    def padded(self) -> Candidates:
        """As many as the next power of two, for a step that is compiled for each size. What is added is not wanted."""
        count = tf.size(self.rows)
        size = 2 ** tf.cast(tf.math.ceil(tf.math.log(tf.cast(count, tf.float64)) / math.log(2.0) - 1e-9), tf.int32)
        added = [tf.maximum(size, count) - count]
        rows = tf.concat([self.rows, tf.zeros(added, tf.int64)], axis=0)
        log_weight = tf.concat([self.log_weight, tf.fill(added, UNWANTED)], axis=0)
        return Candidates(rows, log_weight, self.places)


def draw(
    batch_rows: tf.Tensor, rate: tf.Tensor, others: tf.Tensor, items: int, first_row: int, negatives: int
) -> Candidates:
    """The batch's own items and `negatives` drawn evenly from the catalogue, each item once.

    What else is in a batch than the position that is asked holds an item with probability 1 - exp(-others * rate), and
    one of those drawn is it with 1 - (1 - 1/n)^negatives; one over the probability that either is so is the item's
    weight in the sum over the catalogue (Horvitz and Thompson, "A generalization of sampling without replacement from a
    finite universe", JASA 47, 1952; in the logits it is the logQ correction of Yi et al., "Sampling-bias-corrected
    neural modeling for large corpus item recommendations", RecSys 2019, eq. 3, and of importance sampling, Bengio and
    Senécal, "Adaptive importance sampling to accelerate training of a neural probabilistic language model", IEEE
    Transactions on Neural Networks 19, 2008, eq. 8). What a position holds whatever is drawn is left to `losses`.

    Args:
      batch_rows: int64 of any shape, item rows; 0 pads.
      rate: float32 [items], see `sampling_rate` and `rate_of_share`.
      others: float32, how many different items each of the others holds, added up (see `held_by_others`).
      items, first_row: rows of the table, and the first that can be recommended.
      negatives: how many are drawn.
    """
    first = min(first_row, items - 1)  # where no item is admitted yet, one that is not
    drawn = uniform([negatives], first, items, tf.int64)
    in_batch = everyones(tf.reshape(batch_rows, [-1]))
    rows, places = tf.unique(tf.concat([in_batch, drawn], axis=0), tf.int64)
    missed = -others * tf.gather(rate, rows) + negatives * tf.math.log1p(-1.0 / max(items - first, 2))
    log_weight = tf.where(rows >= first_row, -tf.math.log(-tf.math.expm1(missed)), UNWANTED)
    return Candidates(rows, log_weight, tf.reshape(places[: tf.size(batch_rows)], tf.shape(batch_rows)))


def sampling_rate(items: np.ndarray, owner: np.ndarray, owners: int, size: int, first_row: int) -> np.ndarray:
    """How batches hold items, float32 [size]: without one of `size` rows n times exp(-n * rate), of owners of n items.

    A batch is made of owners, of windows or of positions, which hold an item or not, however often. So an item that is
    held by a share q of them is missed by an owner of as many different items as they have on average, d, with
    probability 1 - q, and by one of n of them with (1 - q)^(n / d).

    Args:
      items, owner: int64 [n], the items of all owners and whose each is; the same item may occur with an owner again.
      owners: how many there are.
      size, first_row: rows of the table, and the first that counts.
    """
    counts = items >= first_row
    pairs = np.unique(owner[counts] * np.int64(size) + items[counts])
    held = np.bincount(pairs % size, minlength=size) / max(owners, 1)
    # What all of them hold is not missed; an infinite rate would be no number times no others.
    return (-np.log1p(-np.minimum(held, 1 - 1e-6)) / max(held.sum(), 1e-6)).astype(np.float32)


def rate_of_share(share: tf.Tensor) -> tf.Tensor:
    """The rate where all that is known is float32 [items], the share of each item in the events."""
    return -tf.math.log1p(-tf.minimum(share, 0.5))


def held_by_others(rows: tf.Tensor, first_row: int) -> tf.Tensor:
    """How many different items each row of int64 [b, l] holds, added up over all rows but one, float32.

    Every row is the one for its own positions, so that it is left out as the mean of them. Rows that only pad are none.
    """
    ordered = tf.sort(rows, axis=1)
    new = tf.concat([tf.ones_like(ordered[:, :1], tf.bool), ordered[:, 1:] != ordered[:, :-1]], axis=1)
    if is_compiled():  # and so padded
        owners = tf.math.count_nonzero(ordered[:, -1], dtype=tf.float32)
    else:
        owners = tf.cast(tf.shape(rows)[0], tf.float32)
    held, owners = across(tf.math.count_nonzero(new & (ordered >= first_row), dtype=tf.float32)), across(owners)
    return held * tf.math.divide_no_nan(owners - 1.0, owners)


def whole_catalogue(batch_rows: tf.Tensor, items: int, first_row: int) -> Candidates:
    """Every item, for catalogues that are small enough: the softmax is exact."""
    rows = tf.range(items, dtype=tf.int64)
    return Candidates(rows, tf.where(rows >= first_row, 0.0, UNWANTED), batch_rows)


UNWANTED = -1e9  # the log weight of what can't be recommended


def losses(
    queries: tf.Tensor, vectors: tf.Tensor, candidates: Candidates, certain: tf.Tensor, target: tf.Tensor
) -> tf.Tensor:
    """Cross-entropy of each position, float32 [p].

    Value and gradients are those of `tf.nn.sparse_softmax_cross_entropy_with_logits`, to rounding. That operation goes
    over the [p, c] scores with two exponentials and a comparison a cell, and what is around it as often again. Here a
    score is touched five times between the products: what is the same for a row or a column is multiplied into their
    narrow sides.

    Args:
      queries: float32 [p, d].
      vectors: float32 [c, d] of the candidates; a score is the product of both.
      candidates: what is scored.
      certain: int64 [p, h], places among the candidates that a position holds whatever is drawn: its own history and
        its target, which therefore stand for themselves alone.
      target: int64 [p], the place of the item that came.
    """
    positions = tf.broadcast_to(tf.range(tf.shape(certain, tf.int64)[0])[:, None], tf.shape(certain, tf.int64))
    cells = tf.reshape(tf.stack([positions, certain], axis=-1), [-1, 2])
    drawn_weight = tf.maximum(tf.reshape(tf.gather(candidates.log_weight, certain), [-1]), 0.0)

    @tf.custom_gradient
    def cross_entropy(queries: tf.Tensor, vectors: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        # A column of ones beside the queries adds the weights within the product.
        ones = tf.ones_like(queries[:, :1])
        weighed = tf.concat([vectors, candidates.log_weight[:, None]], axis=1)
        logits = tf.matmul(tf.concat([queries, ones], axis=1), weighed, transpose_b=True)
        logits = tf.tensor_scatter_nd_update(logits, cells, tf.gather_nd(logits, cells) - drawn_weight)
        of_target = tf.gather(logits, target, batch_dims=1)
        highest = tf.reduce_max(logits, axis=1, keepdims=True)
        shares = tf.exp(logits - highest)
        total = tf.reduce_sum(shares, axis=1, keepdims=True)

        def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            each = upstream[:, None]
            of_queries = tf.matmul(shares, vectors) * (each / total) - each * tf.gather(vectors, target)
            of_vectors = tf.matmul(shares, queries * (each / total), transpose_a=True)
            return of_queries, of_vectors - tf.math.unsorted_segment_sum(each * queries, target, tf.shape(vectors)[0])

        return tf.squeeze(highest + tf.math.log(total), axis=1) - of_target, gradients

    return cross_entropy(queries, vectors)
