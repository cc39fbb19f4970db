"""Weighs what was learned against what was counted, on events that the model has not learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.optimize

from trainer.input_pipeline import Positions
from trainer.keras2 import keras, tf
from trainer.metrics import mask_scores
from trainer.models.catalogue_blocks import SparseScores

_DISTANCES = 8  # events back, told apart for an item that was met before; further back is one more class
# Items of each position that take part in the fit: about as many as are shown. On longer lists the likelihood is made
# by the order of what nobody sees.
_SHORTLIST = 30
_ROUNDS = 3  # of making shortlists by the weights and fitting the weights on them
_POSITIONS = 4096  # at most in a fit
_BATCH = 256
_CELLS = 1 << 25  # scores of a batch, at most
_PRIOR = 10.0  # how many squared units of the weights a position's loss is worth

_KINDS = ("learned", "popular", "popular_without_history", "together", "following")
_START = (1.0, 0.0, 1.0, 0.0, 0.0)


class Evidence(NamedTuple):
    """What speaks for the items.

    Attributes:
      query: float32 [b, d], and index: float32 [items, d]; their product is what was learned.
      popular: float32 [items], log of how popular each is.
      counted: nothing, or two of [b, items], see `Transitions`.
      history: int64 [b, h] item rows, 0 in front.
    """

    query: tf.Tensor
    index: tf.Tensor
    popular: tf.Tensor
    counted: tuple[SparseScores, ...]
    history: tf.Tensor


class Stacking(keras.layers.Layer):
    """score = sum over kinds of weight * value, + a bias by how many events ago the item was met.

    A model that has learned a session knows it too well: it has seen which of the items come back and which do not, and
    is surer than it may be of the next one. So these few weights are not trained with it. They are fitted by maximum
    likelihood on positions that it has not learned (stacking: Wolpert, "Stacked generalization", Neural Networks 5,
    1992, section 2), starting from, and drawn towards, those of the day before.
    """

    def __init__(self) -> None:
        super().__init__(dtype="float32")
        start = keras.initializers.Constant([*_START, *[0.0] * (_DISTANCES + 2)])
        self.weights_ = self.add_weight("weights_", [len(_START) + _DISTANCES + 2], initializer=start, trainable=False)

    def mix(self, evidence: Evidence) -> tf.Tensor:
        """Scores of all items, float32 [b, items]: one product over the catalogue, and a few cells of it corrected."""
        query = self.query(evidence.query, evidence.history)
        scores = tf.matmul(query, tf.concat([evidence.index, evidence.popular[:, None]], axis=1), transpose_b=True)
        return self.correct(scores, evidence.counted, evidence.history)

    def query(self, learned: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        """float32 [b, d + 1] of [b, d] queries: their weight is in them, and the last meets log popularity."""
        weights = self.weights_
        slope = tf.where(_has_history(history), weights[1], weights[2])
        return tf.concat([weights[0] * learned, slope[:, None]], axis=1)

    def correct(self, scores: tf.Tensor, counted: tuple[SparseScores, ...], history: tf.Tensor) -> tf.Tensor:
        """Adds to float32 [b, items] scores what was counted and what was met, which concerns a few cells of them."""
        return tf.tensor_scatter_nd_add(scores, *self.added(counted, history))

    def added(self, counted: tuple[SparseScores, ...], history: tf.Tensor) -> SparseScores:
        """What `correct` adds; a cell may come once for each kind of evidence."""
        weights = self.weights_
        cells, ago = _met(history)
        at, value = [cells], [tf.gather(weights[len(_START) :], ago)]
        for weight, few in zip(tf.unstack(weights[3 : len(_START)]), counted, strict=False):
            at.append(few.at)
            value.append(weight * few.value)
        return SparseScores(tf.concat(at, axis=0), tf.concat(value, axis=0))

    def fit(
        self,
        positions: Positions,
        history_length: int,
        evidence: Callable[[tf.Tensor, tf.Tensor], Evidence],
        first_row: int,
        items: int,
    ) -> None:
        """Fits the weights on `positions`, each of which counts by its event's; of many, on a sample.

        Args:
          positions: that the model has not learned.
          history_length: h.
          evidence: of int64 [b] keys and [b, h] histories.
          first_row: of the items that can be recommended.
          items: rows of the table.
        """
        known = np.flatnonzero(positions.target >= first_row)
        if len(known) > _POSITIONS:
            known = np.sort(np.random.default_rng(len(known)).choice(known, _POSITIONS, replace=False))
        if not len(known):
            return

        @tf.function
        def shortlist(batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, ...]:
            """Values [b, c, kinds] and classes [b, c] of the best items by today's weights; which is right [b, c].

            And how much each event counts [b].
            """
            shortlists = evidence(batch["key"], batch["history"])
            scores = mask_scores(self.mix(shortlists), first_row)
            chosen = tf.math.top_k(scores, tf.minimum(_SHORTLIST, tf.shape(scores)[1] - first_row)).indices
            values, back = _looked_up(shortlists, chosen)
            right = tf.cast(chosen, tf.int64) == batch["item"][:, None]
            return values, back, right, tf.maximum(batch["weight"], 0.0)

        batches = positions.take(known).dataset(max(1, min(_BATCH, _CELLS // items)), history_length)
        graph = shortlist.get_concrete_function(batches.element_spec)  # one for batches of every size
        for _ in range(_ROUNDS):
            parts = [graph(batch) for batch in batches]
            values, back, right, events = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
            # Of what is not on the list nothing is asked: put on it, it would speak against what the list is made by.
            listed = right.any(axis=1) & (events > 0)
            if not listed.any():
                return
            before = self.weights_.numpy().astype(np.float64)
            counts = events[listed] / events[listed].mean()  # 1 on average, so that the prior is worth what it was
            material = (values[listed], back[listed], right[listed].argmax(axis=1), counts, before)
            result = scipy.optimize.minimize(_loss, before, material, jac=True, method="L-BFGS-B")
            self.weights_.assign(result.x.astype(np.float32))


def _has_history(history: tf.Tensor) -> tf.Tensor:
    return tf.reduce_any(history > 0, axis=1)


def _met(history: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Places [n, 2] of the items in int64 [b, h] histories, each once, and classes [n]: how many events ago, from 1."""
    length = tf.shape(history)[1]
    later = tf.range(length)[:, None] < tf.range(length)
    again = tf.reduce_any((history[:, :, None] == history[:, None, :]) & later, axis=2)
    last = tf.where((history > 0) & ~again)
    ago = tf.minimum(length - tf.cast(last[:, 1], tf.int32), _DISTANCES + 1)
    return tf.stack([last[:, 0], tf.gather_nd(history, last)], axis=1), ago


def _looked_up(evidence: Evidence, chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The kinds' values float32 [b, c, kinds] and the classes int32 [b, c] of int32 [b, c] items."""
    with_history = tf.cast(_has_history(evidence.history), tf.float32)[:, None]
    popular = tf.gather(evidence.popular, chosen)
    learned = tf.matmul(evidence.query, evidence.index, transpose_b=True)
    columns = [tf.gather(learned, chosen, batch_dims=1), popular * with_history, popular * (1.0 - with_history)]
    shape = tf.shape(learned, tf.int64)
    for few in evidence.counted:
        columns.append(tf.gather(tf.scatter_nd(few.at, few.value, shape), chosen, batch_dims=1))
    columns += [tf.zeros_like(popular)] * (len(_START) - len(columns))
    back = tf.scatter_nd(*_met(evidence.history), shape)
    return tf.stack(columns, axis=2), tf.gather(back, chosen, batch_dims=1)


def _loss(
    weights: np.ndarray,
    values: np.ndarray,
    back: np.ndarray,
    right: np.ndarray,
    counts: np.ndarray,
    before: np.ndarray,
) -> tuple[float, np.ndarray]:
    """Mean softmax loss of the right one of each shortlist, `counts` times each, and its gradient."""
    every = np.arange(len(values))
    kinds = values.shape[2]
    scores = values @ weights[:kinds].astype(np.float32) + weights[kinds:].astype(np.float32)[back]
    scores -= scores.max(axis=1, keepdims=True)
    share = np.exp(scores)
    total = share.sum(axis=1, keepdims=True)
    loss = float(np.mean(counts * (np.log(total[:, 0]) - scores[every, right])))
    share /= total
    share[every, right] -= 1.0
    share *= counts[:, None]
    by_kind = np.einsum("pc,pck->k", share, values, optimize=True)
    by_class = np.bincount(back.ravel(), share.ravel(), len(weights) - kinds)
    by_class[0] = 0.0  # what was not met is the measure of the rest
    moved = weights - before
    count = len(values)
    loss += _PRIOR / count * float(moved @ moved)
    return loss, np.concatenate([by_kind, by_class]) / count + 2 * _PRIOR / count * moved
