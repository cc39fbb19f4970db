"""The one door to TensorFlow and Keras 2 (see `trainer/__init__.py` for why it is Keras 2)."""

from __future__ import annotations

import tensorflow as tf
import tf_keras as keras


def _spare_tf_keras_from_autograph() -> None:
    """Keeps AutoGraph from converting `tf_keras`, which costs 20 s at the first use of a layer (TensorFlow < 2.17)."""
    if tuple(int(part) for part in tf.__version__.split(".")[:2]) >= (2, 17):
        return
    from tensorflow.python.autograph.core import config

    config.CONVERSION_RULES = (config.DoNotConvert("tf_keras"), *config.CONVERSION_RULES)


_spare_tf_keras_from_autograph()

__all__ = ["keras", "tf"]
