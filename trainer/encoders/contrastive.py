"""The loss by which an encoder is tuned: which of a batch's texts comes next?

A softmax over the cosines of the mean of the last texts with the texts that come in the batch (van den Oord, Li and
Vinyals, "Representation learning with contrastive predictive coding", 2018, eq. 4), each less the logarithm of how
probable it was to be in the batch: popular texts are negatives more often than others, and would be pushed away for it
(Bengio and Senécal, "Quick training of probabilistic neural nets by importance sampling", AISTATS 2003; Yi et al.,
"Sampling-bias-corrected neural modeling for large corpus item recommendations", RecSys 2019, eq. 3).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from trainer.encoders.text_positions import NONE, TextPositions
from trainer.keras2 import tf

_MASKED = -1e9


@dataclasses.dataclass(frozen=True)
class Batch:
    """Positions over the t texts that they need, of which the first c are the candidates: each text that comes, once.

    Attributes:
      texts: int64 [t], their codes.
      mix: float32 [b, t], the share of each text in the mean of those before; rows add up to 1.
      target: int32 [b], the candidate that came.
      log_probs: float32 [c], the logarithm of how probable each was to be a candidate.
      before: bool [b, c], the candidates that the key had before: no negatives of it.
    """

    texts: np.ndarray
    mix: np.ndarray
    target: np.ndarray
    log_probs: np.ndarray
    before: np.ndarray


def as_batch(positions: TextPositions, share: np.ndarray) -> Batch:
    """The positions as a batch.

    Args:
      positions: b positions.
      share: float64 [texts], the share of the positions that are drawn from whose text it is that came.
    """
    candidates, target = np.unique(positions.target, return_inverse=True)
    others = np.setdiff1d(positions.history[positions.history != NONE], candidates)
    texts = np.concatenate([candidates, others])
    place = np.full(len(share), NONE)
    place[texts] = np.arange(len(texts))
    mix = np.zeros([len(positions), len(texts)], np.float32)
    rows, columns = np.nonzero(positions.history != NONE)
    np.add.at(mix, (rows, place[positions.history[rows, columns]]), 1.0)
    before = mix[:, : len(candidates)] > 0
    # A text is a candidate once, however many of the b positions it comes in: 1 - (1 - share)^b.
    with np.errstate(divide="ignore"):
        present = -np.expm1(len(positions) * np.log1p(-share[candidates]))
    return Batch(
        texts,
        mix / mix.sum(axis=1, keepdims=True),
        target.astype(np.int32).reshape(-1),
        np.log(present).astype(np.float32),
        before,
    )


def loss(
    vectors: tf.Tensor,
    mix: tf.Tensor,
    target: tf.Tensor,
    log_probs: tf.Tensor,
    before: tf.Tensor,
    temperature: float,
) -> tf.Tensor:
    """The mean over the positions, a scalar; see `Batch`, and float32 [t, width] `vectors`."""
    vectors = tf.math.l2_normalize(vectors, axis=1, epsilon=1e-24)
    asked = tf.math.l2_normalize(tf.matmul(mix, vectors), axis=1, epsilon=1e-24)
    scores = tf.matmul(asked, vectors[: tf.shape(log_probs)[0]], transpose_b=True) / temperature - log_probs
    scores = tf.where(before, _MASKED, scores)
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(target, scores))


def loss_over_all(positions: TextPositions, vectors: np.ndarray, temperature: float) -> float:
    """The same over all texts that occur, none of which was drawn: what two encoders can be compared by.

    Args:
      positions: At least one.
      vectors: float32 [texts, width]; of texts that do not occur anything.
      temperature: By which cosines are divided.
    """
    batch = as_batch(positions, np.ones(len(positions.texts)))
    drawn = tf.zeros_like(batch.log_probs)
    mix, target, before = tf.constant(batch.mix), tf.constant(batch.target), tf.constant(batch.before)
    return float(loss(tf.constant(vectors[batch.texts]), mix, target, drawn, before, temperature))


def share_of_each(positions: TextPositions) -> np.ndarray:
    """float64 [texts], in which share of the positions each text is the one that came."""
    return np.bincount(positions.target, minlength=len(positions.texts)) / max(1, len(positions))
