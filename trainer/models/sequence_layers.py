"""The layers that blocks over sequences are made of, built, and how they begin."""

from __future__ import annotations

from trainer.keras2 import keras, tf


def dense(
    inputs: int, outputs: int, activation: str | None = None, use_bias: bool = True, silent: bool = False
) -> keras.layers.Dense:
    """An affine map, built. `silent`: its kernel begins at zero, so that at first it adds nothing."""
    start = "zeros" if silent else noise(inputs**-0.5)
    return _built(keras.layers.Dense(outputs, activation, use_bias=use_bias, kernel_initializer=start), inputs)


def projection(width: int, silent: bool = False) -> keras.layers.Dense:
    """A square linear map, built; see `dense`."""
    return dense(width, width, use_bias=False, silent=silent)


def normalisation(width: int) -> keras.layers.LayerNormalization:
    """Layer normalisation in float32, built (Ba, Kiros and Hinton, 2016)."""
    return _built(keras.layers.LayerNormalization(epsilon=1e-6, dtype="float32"), width)


def noise(stddev: float) -> keras.initializers.Initializer:
    """Normal noise."""
    return keras.initializers.RandomNormal(stddev=stddev)


def split_heads(steps: tf.Tensor, heads: int) -> tf.Tensor:
    """[b, heads, l, width / heads] from [b, l, width]."""
    batch, length = tf.unstack(tf.shape(steps)[:2])
    parts = tf.reshape(steps, [batch, length, heads, steps.shape[-1] // heads])
    return tf.transpose(parts, [0, 2, 1, 3])


def join_heads(parts: tf.Tensor) -> tf.Tensor:
    """[b, l, width] from [b, heads, l, width / heads]."""
    batch, length = tf.shape(parts)[0], tf.shape(parts)[2]
    return tf.reshape(tf.transpose(parts, [0, 2, 1, 3]), [batch, length, parts.shape[1] * parts.shape[-1]])


def _built(layer: keras.layers.Layer, width: int) -> keras.layers.Layer:
    layer.build([None, None, width])
    return layer
