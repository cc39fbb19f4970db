"""Weighs what was learned against what was counted, on events that the model has not learned."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.optimize

from trainer.input import Positions
from trainer.keras2 import keras, tf
from trainer.metrics import mask_scores

_DISTANCES = 8  # events back, told apart for an item that was met before; further back is one more class
_SHORTLIST = 300  # items of each position that take part in the fit
_POSITIONS = 4096  # at most in a fit
_BATCH = 256
_PRIOR = 10.0  # how many squared units of the weights a position's loss is worth

_KINDS = ("learned", "together", "following", "popular", "popular_without_history")
_START = (1.0, 0.0, 0.0, 0.0, 1.0)


class Mixture(keras.layers.Layer):
    """score = sum over kinds of weight * value, + a bias by how many events ago the item was met.

    A model that has learned a session knows it too well: it has seen which of the items come back and which do not, and
    is surer than it may be of the next one. So these few weights are not trained with it. They are fitted by maximum
    likelihood on positions that it has not learned (stacking: Wolpert, "Stacked generalization", Neural Networks 5,
    1992, section 2), starting from, and drawn towards, those of the day before.
    """

    def __init__(self) -> None:
        super().__init__()
        start = keras.initializers.Constant([*_START, *[0.0] * (_DISTANCES + 2)])
        self.weights_ = self.add_weight("weights_", [len(_START) + _DISTANCES + 2], initializer=start, trainable=False)

    def mix(self, learned: tf.Tensor, counted: tuple, popular: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        """Scores of all items, float32 [b, items].

        Args:
          learned: float32 [b, items].
          counted: nothing, or two of float32 [b, items], see `Transitions`.
          popular: float32 [items], log of how popular each is.
          history: int64 [b, h] item rows, 0 in front.
        """
        values, back = _values(learned, counted, popular, history)
        scores = sum(self.weights_[place] * value for place, value in values.items())
        return scores + tf.gather(self.weights_[len(_START) :], back)

    def fit(
        self,
        positions: Positions,
        history_length: int,
        kinds: Callable[[tf.Tensor, tf.Tensor], tuple],
        first_row: int,
    ) -> None:
        """Fits the weights on `positions`; of many, on a sample.

        Args:
          positions: that the model has not learned.
          history_length: h.
          kinds: of int64 [b] keys and [b, h] histories: what `mix` takes.
          first_row: of the items that can be recommended.
        """
        known = np.flatnonzero(positions.target >= first_row)
        if len(known) > _POSITIONS:
            known = np.sort(np.random.default_rng(len(known)).choice(known, _POSITIONS, replace=False))
        if not len(known):
            return

        @tf.function
        def shortlist(batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            """Values [b, c, kinds] and classes [b, c] of the best items by today's weights; which is right [b, c]."""
            parts = kinds(batch["key"], batch["history"])
            values, back = _values(*parts)
            scores = mask_scores(self.mix(*parts), first_row)
            chosen = tf.math.top_k(scores, tf.minimum(_SHORTLIST, tf.shape(scores)[1] - first_row)).indices
            columns = [tf.zeros_like(scores)] * len(_START)
            for place, value in values.items():
                columns[place] = tf.broadcast_to(value, tf.shape(scores))
            found = tf.stack([tf.gather(column, chosen, batch_dims=1) for column in columns], axis=2)
            right = tf.cast(chosen, tf.int64) == batch["item"][:, None]
            return found, tf.gather(back, chosen, batch_dims=1), right

        batches = positions.take(known).dataset(_BATCH, history_length)
        graph = shortlist.get_concrete_function(batches.element_spec)  # one for batches of every size
        listed_batches = [graph(batch) for batch in batches]
        values, back, right = (np.concatenate(parts) for parts in zip(*listed_batches, strict=True))
        # Of what is not on the shortlist nothing is asked: put on it, it would speak against what the list is made by.
        listed = right.any(axis=1)
        if not listed.any():
            return
        before = self.weights_.numpy().astype(np.float64)
        result = scipy.optimize.minimize(
            _loss, before,
            (values[listed], back[listed], right[listed].argmax(axis=1), before),
            jac=True, method="L-BFGS-B",
        )  # fmt: skip
        self.weights_.assign(result.x.astype(np.float32))


def _values(
    learned: tf.Tensor, counted: tuple, popular: tf.Tensor, history: tf.Tensor
) -> tuple[dict[int, tf.Tensor], tf.Tensor]:
    """The kinds by their place in the weights, and int32 [b, items]: how many events ago an item was met, 0 for not."""
    without = tf.cast(~tf.reduce_any(history > 0, axis=1), tf.float32)[:, None]
    values = {0: learned, 3: popular * (1.0 - without), 4: popular * without}
    if counted:
        values[1], values[2] = counted
    batch, length = tf.unstack(tf.shape(history))
    ago = tf.minimum(tf.range(length, 0, -1), _DISTANCES + 1)
    at = tf.stack([tf.broadcast_to(tf.range(batch)[:, None], [batch, length]), tf.cast(history, tf.int32)], axis=-1)
    none = tf.fill(tf.shape(learned), _DISTANCES + 2)
    nearest = tf.tensor_scatter_nd_min(
        none, tf.reshape(at, [-1, 2]), tf.reshape(tf.broadcast_to(ago, [batch, length]), [-1])
    )
    return values, tf.where(nearest > _DISTANCES + 1, 0, nearest)


def _loss(
    weights: np.ndarray, values: np.ndarray, back: np.ndarray, right: np.ndarray, before: np.ndarray
) -> tuple[float, np.ndarray]:
    """Mean softmax loss of the right one of each shortlist, and its gradient."""
    every = np.arange(len(values))
    kinds = values.shape[2]
    scores = values @ weights[:kinds].astype(np.float32) + weights[kinds:].astype(np.float32)[back]
    scores -= scores.max(axis=1, keepdims=True)
    share = np.exp(scores)
    total = share.sum(axis=1, keepdims=True)
    loss = float(np.mean(np.log(total[:, 0]) - scores[every, right]))
    share /= total
    share[every, right] -= 1.0
    by_kind = np.einsum("pc,pck->k", share, values, optimize=True)
    by_class = np.bincount(back.ravel(), share.ravel(), len(weights) - kinds)
    by_class[0] = 0.0  # what was not met is the measure of the rest
    moved = weights - before
    count = len(values)
    loss += _PRIOR / count * float(moved @ moved)
    return loss, np.concatenate([by_kind, by_class]) / count + 2 * _PRIOR / count * moved
