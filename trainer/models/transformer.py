"""One block of a causal Transformer."""

from __future__ import annotations

from trainer.keras2 import keras, tf


class CausalBlock(keras.layers.Layer):
    """Self-attention over the present and the past, then a feed-forward layer, each normalised before and added on.

    Vaswani et al., "Attention is all you need", NeurIPS 2017; the normalisation in front as in Xiong et al., "On layer
    normalization in the Transformer architecture", ICML 2020.

    Args:
      width: of inputs and outputs.
      heads: attention heads, a divisor of `width`.
      inner: width of the feed-forward layer.
      dropout: of both outputs while training.
    """

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention = _built(keras.layers.LayerNormalization(epsilon=1e-6), width)
        self.before_inner = _built(keras.layers.LayerNormalization(epsilon=1e-6), width)
        self.query, self.key, self.value, self.output_ = (projection(width) for _ in range(4))
        self.inner = _built(keras.layers.Dense(inner, "gelu", kernel_initializer=_noise(width)), width)
        self.outer = _built(keras.layers.Dense(width, kernel_initializer=_noise(inner)), inner)
        self.dropout = keras.layers.Dropout(dropout)

    def call(self, steps: tf.Tensor, visible: tf.Tensor, training: bool = False) -> tf.Tensor:
        """float32 [b, l, width] from [b, l, width]; bool [b, l, l] `visible` says which step sees which."""
        normal = self.before_attention(steps)
        query, key, value = (self._split(layer(normal)) for layer in (self.query, self.key, self.value))
        scores = tf.matmul(query, key, transpose_b=True) * query.shape[-1] ** -0.5
        attention = tf.nn.softmax(tf.where(visible[:, None], scores, -1e9))
        seen = self.output_(self._join(tf.matmul(attention, value)))
        steps += self.dropout(seen, training=training)
        return steps + self.dropout(self.outer(self.inner(self.before_inner(steps))), training=training)

    def _split(self, steps: tf.Tensor) -> tf.Tensor:
        """[b, heads, l, width / heads] from [b, l, width]."""
        batch, length = tf.unstack(tf.shape(steps)[:2])
        parts = tf.reshape(steps, [batch, length, self.heads, steps.shape[-1] // self.heads])
        return tf.transpose(parts, [0, 2, 1, 3])

    def _join(self, parts: tf.Tensor) -> tf.Tensor:
        batch, length = tf.shape(parts)[0], tf.shape(parts)[2]
        return tf.reshape(tf.transpose(parts, [0, 2, 1, 3]), [batch, length, self.heads * parts.shape[-1]])


def projection(width: int) -> keras.layers.Dense:
    """A square linear map, built."""
    return _built(keras.layers.Dense(width, use_bias=False, kernel_initializer=_noise(width)), width)


def _noise(inputs: int) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=inputs**-0.5)


def _built(layer: keras.layers.Layer, width: int) -> keras.layers.Layer:
    layer.build([None, None, width])
    return layer
