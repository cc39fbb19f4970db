"""A hierarchical sequential transduction unit over a key's history: HSTU."""

from __future__ import annotations

from typing import ClassVar

from trainer.compiled_step import Dropout
from trainer.keras2 import keras, tf
from trainer.models.sequence_layers import dense, join_heads, normalisation, split_heads
from trainer.models.sequence_model import SequenceModel


class Hstu(SequenceModel):
    """A `SequenceModel` whose blocks are HSTU's; with `head: projected` its output is the session, as published.

    `inner` times `dimension` is the width of what attention carries and of the gate. In its first revision what was
    counted was weighed by a few weights alone.
    """

    revisions: ClassVar[tuple[int, ...]] = (1, 2)

    def make_block(self, width: int, heads: int, inner: int, dropout: float) -> HstuBlock:
        return HstuBlock(width, heads, inner, dropout, self.history_length)

    @property
    def weighs_by_network(self) -> bool:
        return self.revision > 1


class HstuBlock(keras.layers.Layer):
    """Attention without a softmax, gated: how much of what was looked for there is counts, not its share alone.

    Zhai et al., "Actions speak louder than words: trillion-parameter sequential transducers for generative
    recommendations", ICML 2024, eq. 1 to 3:

        U, V, Q, K = split(SiLU(f1(norm(x))))
        A V        = SiLU(Q K^T + bias of the distance) V / n
        y          = x + f2(norm(A V) * U)

    with n the longest history, pointwise instead of a softmax. Of the relative bias the part of time is left out: a
    request says in which order its history came, not when. f2's kernel begins at zero, as `CausalBlock`'s.

    Args:
      width: of inputs and outputs, and of queries and keys.
      heads: attention heads, a divisor of `width`.
      inner: width of U and V, a multiple of `heads`.
      dropout: of the gated attention while training.
      longest: steps of the longest history, n.
    """

    def __init__(self, width: int, heads: int, inner: int, dropout: float, longest: int) -> None:
        super().__init__(dtype="float32")  # what is added up; the products in between take the policy
        self.heads, self.longest = heads, longest
        self.sizes = [inner, inner, width, width]
        self.before = normalisation(width)
        self.expand = dense(width, sum(self.sizes), "silu")
        self.after_attention = normalisation(inner)
        self.output_ = dense(inner, width, silent=True)
        self.distance_bias = self.add_weight("distance_bias", [longest], initializer="zeros")
        self.dropout = Dropout(dropout)

    def call(self, steps: tf.Tensor, visible: tf.Tensor, training: bool = False) -> tf.Tensor:
        """float32 [b, l, width] from [b, l, width]; bool [b, l, l] `visible` says which step sees which."""
        gate, *parts = tf.split(self.expand(self.before(steps)), self.sizes, axis=-1)
        value, query, key = (split_heads(part, self.heads) for part in parts)
        length = tf.shape(steps)[1]
        distance = tf.maximum(tf.range(length)[:, None] - tf.range(length), 0)
        scores = tf.cast(tf.matmul(query, key, transpose_b=True), tf.float32) + tf.gather(self.distance_bias, distance)
        attention = tf.where(visible[:, None], tf.nn.silu(scores), 0.0) / self.longest
        seen = self.after_attention(join_heads(tf.matmul(tf.cast(attention, value.dtype), value)))
        gated = self.dropout(seen * tf.cast(gate, tf.float32), training=training)
        return steps + tf.cast(self.output_(gated), tf.float32)
