"""Weighs what was learned against what was counted, on events that the model has not learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import scipy.optimize

from trainer.input_pipeline import Positions
from trainer.keras2 import keras, tf
from trainer.metrics import mask_scores
from trainer.models import evidence_network
from trainer.models.catalogue_blocks import SparseScores
from trainer.models.evidence_network import Cells, EvidenceNetwork

_DISTANCES = 8  # events back, told apart for an item that was met before; further back is one more class
# Items of each position that take part in the fit: about as many as are shown. On longer lists the likelihood is made
# by the order of what nobody sees.
_SHORTLIST = 30
_ROUNDS = 3  # of making shortlists by the weights and fitting the weights on them
_POSITIONS = 4096  # at most in a fit
_BATCH = 256
_CELLS = 1 << 25  # scores of a batch, at most
_STEPS = 30  # of a fit with a network: what it gains after them it gains on these positions alone
_ROWS = 1 << 32  # more than any table has: a place as one number
_PRIOR = 10.0  # how many squared units of the weights a position's loss is worth

_KINDS = ("learned", "popular", "popular_without_history", "together", "following")
_START = (1.0, 0.0, 1.0, 0.0, 0.0)


OfItems: TypeAlias = Callable[[tf.Tensor], tf.Tensor]


class Evidence(NamedTuple):
    """What speaks for the items.

    Attributes:
      query: float32 [b, d], and index: float32 [items, d]; their product is what was learned.
      popular: float32 [items], log of how popular each is.
      counted: nothing, or two of [b, items], see `Transitions`.
      history: int64 [b, h] item rows, 0 in front.
      of_items: float32 [n, 2] for int64 [n] rows, see `EvidenceNetwork.inputs`.
    """

    query: tf.Tensor
    index: tf.Tensor
    popular: tf.Tensor
    counted: tuple[SparseScores, ...]
    history: tf.Tensor
    of_items: OfItems


class Stacking(keras.layers.Layer):
    """score = sum over kinds of weight * value, + a bias by how many events ago the item was met.

    With `network` an item for which something was counted gets what that makes of it in addition.

    A model that has learned a session knows it too well: it has seen which of the items come back and which do not, and
    is surer than it may be of the next one. So these few weights are not trained with it. They are fitted by maximum
    likelihood on positions that it has not learned (stacking: Wolpert, "Stacked generalization", Neural Networks 5,
    1992, section 2), starting from, and drawn towards, those of the day before.
    """

    def __init__(self, network: bool = False) -> None:
        super().__init__(dtype="float32")
        self.network = EvidenceNetwork(_DISTANCES + 2) if network else None
        start = keras.initializers.Constant([*_START, *[0.0] * (_DISTANCES + 2)])
        self.weights_ = self.add_weight("weights_", [len(_START) + _DISTANCES + 2], initializer=start, trainable=False)

    def mix(self, evidence: Evidence) -> tf.Tensor:
        """Scores of all items, float32 [b, items]: one product over the catalogue, and a few cells of it corrected."""
        query = self.query(evidence.query, evidence.history)
        scores = tf.matmul(query, tf.concat([evidence.index, evidence.popular[:, None]], axis=1), transpose_b=True)
        return self.correct(scores, evidence.counted, evidence.history, evidence.of_items)

    def query(self, learned: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        """float32 [b, d + 1] of [b, d] queries: their weight is in them, and the last meets log popularity."""
        weights = self.weights_
        slope = tf.where(_has_history(history), weights[1], weights[2])
        return tf.concat([weights[0] * learned, slope[:, None]], axis=1)

    def correct(
        self, scores: tf.Tensor, counted: tuple[SparseScores, ...], history: tf.Tensor, of_items: OfItems
    ) -> tf.Tensor:
        """Adds to float32 [b, items] scores what was counted and what was met, which concerns a few cells of them."""
        return tf.tensor_scatter_nd_add(scores, *self.added(counted, history, of_items))

    def added(self, counted: tuple[SparseScores, ...], history: tf.Tensor, of_items: OfItems) -> SparseScores:
        """What `correct` adds; without a network a cell may come once for each kind of evidence."""
        weights = self.weights_
        if self.network is not None:
            at, cells = _merged(counted, history)
            value = weights[3] * cells.together + weights[4] * cells.following
            value += tf.gather(weights[len(_START) :], cells.ago)
            return SparseScores(at, value + self.network(self.network.inputs(cells, history, of_items)))
        met, ago, _ = _met(history)
        at, values = [met], [tf.gather(weights[len(_START) :], ago)]
        for weight, few in zip(tf.unstack(weights[3 : len(_START)]), counted, strict=False):
            at.append(few.at)
            values.append(weight * few.value)
        return SparseScores(tf.concat(at, axis=0), tf.concat(values, axis=0))

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

        @tf.function(autograph=False)
        def shortlist(batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, ...]:
            """Values [b, c, kinds] and classes [b, c] of the best items by today's weights; which is right [b, c].

            How much each event counts [b]; and what the network is given [b, c, width], nothing without one.
            """
            shortlists = evidence(batch["key"], batch["history"])
            scores = mask_scores(self.mix(shortlists), first_row)
            chosen = tf.math.top_k(scores, tf.minimum(_SHORTLIST, tf.shape(scores)[1] - first_row)).indices
            values, back = looked_up(shortlists, chosen)
            right = tf.cast(chosen, tf.int64) == batch["item"][:, None]
            return values, back, right, tf.maximum(batch["weight"], 0.0), self.given(shortlists, chosen, values, back)

        batches = positions.take(known).dataset(max(1, min(_BATCH, _CELLS // items)), history_length)
        graph = shortlist.get_concrete_function(batches.element_spec)  # one for batches of every size
        yesterday = self.parameters()
        for _ in range(_ROUNDS):
            parts = [graph(batch) for batch in batches]
            values, back, right, events, given = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
            # Of what is not on the list nothing is asked: put on it, it would speak against what the list is made by.
            listed = right.any(axis=1) & (events > 0)
            if not listed.any():
                return
            counts = events[listed] / events[listed].mean()  # 1 on average, so that the prior is worth what it was
            material = Material(values[listed], back[listed], right[listed].argmax(axis=1), counts, given[listed])
            self._assign(_fitted(self.parameters(), material, yesterday))

    def given(self, evidence: Evidence, chosen: tf.Tensor, values: tf.Tensor, back: tf.Tensor) -> tf.Tensor:
        """The network's inputs for int32 [b, c] items, zeros where it has no say; [b, c, 0] without one."""
        shape = tf.shape(chosen)
        if self.network is None:
            return tf.zeros([shape[0], shape[1], 0])
        item = tf.cast(chosen, tf.int64)
        same = evidence.history[:, None, :] == item[:, :, None]
        times = tf.where(back > 0, tf.reduce_sum(tf.cast(same, tf.float32), axis=2), 0.0)
        together, following, ago, times, item = (
            tf.reshape(of, [-1]) for of in (values[:, :, 3], values[:, :, 4], back, times, item)
        )
        position = tf.repeat(tf.range(shape[0]), shape[1])
        cells = Cells(together, following, ago, times, item, position)
        inputs = self.network.inputs(cells, evidence.history, evidence.of_items)
        counted = (cells.together > 0) | (cells.following > 0) | (cells.ago > 0)
        inputs *= tf.cast(counted, tf.float32)[:, None]
        return tf.reshape(inputs, [shape[0], shape[1], inputs.shape[-1]])

    def parameters(self) -> np.ndarray:
        own = self.weights_.numpy().astype(np.float64)
        return own if self.network is None else np.concatenate([own, self.network.parameters])

    def _assign(self, parameters: np.ndarray) -> None:
        own, of_network = np.split(parameters, [len(_START) + _DISTANCES + 2])
        self.weights_.assign(own.astype(np.float32))
        if self.network is not None:
            self.network.assign(of_network)


def _has_history(history: tf.Tensor) -> tf.Tensor:
    return tf.reduce_any(history > 0, axis=1)


def _met(history: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Places [n, 2] of the items in int64 [b, h] histories, each once; how many events ago, as classes [n] from 1.

    And how often it was met, float32 [n].
    """
    length = tf.shape(history)[1]
    later = tf.range(length)[:, None] < tf.range(length)
    same = history[:, :, None] == history[:, None, :]
    last = tf.where((history > 0) & ~tf.reduce_any(same & later, axis=2))
    ago = tf.minimum(length - tf.cast(last[:, 1], tf.int32), _DISTANCES + 1)
    times = tf.gather_nd(tf.reduce_sum(tf.cast(same, tf.float32), axis=2), last)
    return tf.stack([last[:, 0], tf.gather_nd(history, last)], axis=1), ago, times


def looked_up(evidence: Evidence, chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The kinds' values float32 [b, c, kinds] and the classes int32 [b, c] of int32 [b, c] items."""
    with_history = tf.cast(_has_history(evidence.history), tf.float32)[:, None]
    popular = tf.gather(evidence.popular, chosen)
    learned = tf.matmul(evidence.query, evidence.index, transpose_b=True)
    columns = [tf.gather(learned, chosen, batch_dims=1), popular * with_history, popular * (1.0 - with_history)]
    shape = tf.shape(learned, tf.int64)
    for few in evidence.counted:
        columns.append(tf.gather(tf.scatter_nd(few.at, few.value, shape), chosen, batch_dims=1))
    columns += [tf.zeros_like(popular)] * (len(_START) - len(columns))
    met, ago, _ = _met(evidence.history)
    back = tf.scatter_nd(met, ago, shape)
    return tf.stack(columns, axis=2), tf.gather(back, chosen, batch_dims=1)


def _merged(counted: tuple[SparseScores, ...], history: tf.Tensor) -> tuple[tf.Tensor, Cells]:
    """Each place once, int64 [n, 2], with all that speaks for it."""
    met, ago, times = _met(history)
    kinds = [(met, tf.cast(ago, tf.float32)), (met, times), *((few.at, few.value) for few in counted)]
    at = tf.concat([place for place, _ in kinds], axis=0)
    columns = [tf.pad(value[:, None], [[0, 0], [kind, 3 - kind]]) for kind, (_, value) in enumerate(kinds)]
    places, own = tf.unique(at[:, 0] * _ROWS + at[:, 1])
    merged = tf.math.unsorted_segment_sum(tf.concat(columns, axis=0), own, tf.size(places))
    ago, times, together, following = tf.unstack(merged, axis=1)
    position, item = places // _ROWS, places % _ROWS
    cells = Cells(together, following, tf.cast(ago, tf.int32), times, item, position)
    return tf.stack([position, item], axis=1), cells


class Material(NamedTuple):
    """What is fitted on: values [p, c, kinds], classes [p, c], which is right [p], how much each counts [p].

    And what the network is given [p, c, width], all zeros where it has no say; width 0 without one.
    """

    values: np.ndarray
    back: np.ndarray
    right: np.ndarray
    counts: np.ndarray
    given: np.ndarray


def _fitted(start: np.ndarray, material: Material, yesterday: np.ndarray) -> np.ndarray:
    limits = {"maxiter": _STEPS} if material.given.shape[2] else {}
    return scipy.optimize.minimize(loss_of, start, (material, yesterday), jac=True, method="L-BFGS-B", options=limits).x


def loss_of(parameters: np.ndarray, of: Material, before: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean softmax loss of the right one of each shortlist, `counts` times each, and its gradient."""
    count, _, kinds = of.values.shape
    every = np.arange(count)
    weights, bias, network = np.split(parameters, [kinds, kinds + _DISTANCES + 2])
    scores = of.values @ weights.astype(np.float32) + bias.astype(np.float32)[of.back]
    if len(network):
        value, hidden = evidence_network.forward(network, of.given)
        has_say = of.given.any(axis=2)
        scores += value * has_say
    scores -= scores.max(axis=1, keepdims=True)
    share = np.exp(scores)
    total = share.sum(axis=1, keepdims=True)
    loss = float(np.mean(of.counts * (np.log(total[:, 0]) - scores[every, of.right])))
    share /= total
    share[every, of.right] -= 1.0
    share *= of.counts[:, None]
    by_class = np.bincount(of.back.ravel(), share.ravel(), len(bias))
    by_class[0] = 0.0  # what was not met is the measure of the rest
    parts: list[Any] = [np.einsum("pc,pck->k", share, of.values, optimize=True), by_class]
    if len(network):
        parts.append(evidence_network.gradient(network, of.given, hidden, share * has_say))
    moved = parameters - before
    loss += _PRIOR / count * float(moved @ moved)
    return loss, np.concatenate(parts) / count + 2 * _PRIOR / count * moved
