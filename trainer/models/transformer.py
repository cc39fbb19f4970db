"""One block of a causal Transformer."""

from __future__ import annotations

from trainer.compiled_step import Dropout
from trainer.keras2 import keras, tf
from trainer.models.sequence_layers import dense, join_heads, normalisation, projection, split_heads


class CausalBlock(keras.layers.Layer):
    """Self-attention over the present and the past, then a feed-forward layer, each normalised before and added on.

    Vaswani et al., "Attention is all you need", NeurIPS 2017; the normalisation in front as in Xiong et al., "On layer
    normalization in the Transformer architecture", ICML 2020.

    Args:
      width: of inputs and outputs.
      heads: attention heads, a divisor of `width`.
      inner: width of the feed-forward layer.
      dropout: of both outputs while training.
      silent: whether a new block adds nothing: the kernels of both outputs begin at zero, so that a model of any depth
        begins as one without blocks, and a block adds what it has learned (Zhang, Dauphin and Ma, "Fixup
        initialization", ICLR 2019, section 3, rule 1). Noise is many times as long as the items that it is added to.
    """

    def __init__(self, width: int, heads: int, inner: int, dropout: float, silent: bool) -> None:
        super().__init__(dtype="float32")  # what is added up; the products in between take the policy
        self.heads = heads
        self.before_attention, self.before_inner = normalisation(width), normalisation(width)
        self.query, self.key, self.value = (projection(width) for _ in range(3))
        self.output_ = projection(width, silent)
        self.inner = dense(width, inner, "gelu")
        self.outer = dense(inner, width, silent=silent)
        self.dropout = Dropout(dropout)

    def call(self, steps: tf.Tensor, visible: tf.Tensor, training: bool = False) -> tf.Tensor:
        """float32 [b, l, width] from [b, l, width]; bool [b, l, l] `visible` says which step sees which."""
        normal = self.before_attention(steps)
        query, key, value = (split_heads(layer(normal), self.heads) for layer in (self.query, self.key, self.value))
        scores = tf.cast(tf.matmul(query, key, transpose_b=True), tf.float32) * query.shape[-1] ** -0.5
        attention = tf.nn.softmax(tf.where(visible[:, None], scores, -1e9))
        seen = self.output_(join_heads(tf.matmul(tf.cast(attention, value.dtype), value)))
        steps += self.dropout(seen, training=training)
        return steps + self.dropout(self.outer(self.inner(self.before_inner(steps))), training=training)
