"""In how many bits the layers of a model compute while it is trained: Keras's mixed precision.

(Micikevicius et al., "Mixed precision training", ICLR 2018, section 3: weights, their updates, reductions and losses
stay float32, what is multiplied is of half the size.) A layer takes the policy that is set while it is built, so that
one which must not is built with `dtype="float32"`: tables, normalisations, counts, softmaxes and what is last before a
loss.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from trainer.keras2 import keras, tf
from trainer.settings import Precision


@contextlib.contextmanager
def built_in(precision: Precision) -> Iterator[None]:
    """Layers that are built within take `precision`. Their variables are float32 whatever it is."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(precision)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def compute_dtype() -> tf.DType:
    """What layers that are built now compute in, for a product outside one of Keras's own."""
    return tf.as_dtype(keras.mixed_precision.global_policy().compute_dtype)


def matmul(left: Any, right: Any, dtype: tf.DType, **how: Any) -> tf.Tensor:
    """`tf.matmul` of float32 tensors in `dtype`; float32."""
    return tf.cast(tf.matmul(tf.cast(left, dtype), tf.cast(right, dtype), **how), tf.float32)
