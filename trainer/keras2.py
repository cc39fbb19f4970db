"""The one door to TensorFlow and Keras.

TensorFlow Recommenders refuses Keras 3, and TensorFlow decides which Keras it is at its first import: so
`TF_USE_LEGACY_KERAS` is set here, before that import, and every module that needs Keras takes it from here.
"""

from __future__ import annotations

import os
import sys

if "tensorflow" not in sys.modules:
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
elif os.environ.get("TF_USE_LEGACY_KERAS") not in {"1", "true", "True"}:
    raise ImportError(
        "warmspan must be imported before TensorFlow, or TF_USE_LEGACY_KERAS must be 1: TensorFlow Recommenders needs "
        "Keras 2. Received: TensorFlow already imported with Keras 3. Export TF_USE_LEGACY_KERAS=1 and start again."
    )

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
