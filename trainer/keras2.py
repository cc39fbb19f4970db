"""The one door to TensorFlow and Keras 2 (see `trainer/__init__.py` for why it is Keras 2)."""

from __future__ import annotations

import tensorflow as tf
import tf_keras as keras


def _spare_tf_keras_from_autograph() -> None:
    """Keeps AutoGraph from converting `tf_keras`: 20 s at the first use of a layer (TensorFlow < 2.17).

    Keras's own training function asks for it. Ours do without: what depends on a tensor's value is said by `tf.cond`
    and `tf.while_loop`, and to read our sources costs a process 6 s before its first step.
    """
    if tuple(int(part) for part in tf.__version__.split(".")[:2]) >= (2, 17):
        return
    from tensorflow.python.autograph.core import config

    config.CONVERSION_RULES = (config.DoNotConvert("tf_keras"), *config.CONVERSION_RULES)


def _leave_graphs_as_they_are() -> None:
    """Switches TensorFlow's graph optimizer off on a processor, where a day of small data is its main customer.

    It takes a seventh of the time of a small update and gives nothing back to a large one. What it adds up follows the
    names of operations, so that without it a model depends less on what else a process has built. Graphs for GPUs it
    lays out anew.
    """
    if not tf.config.list_physical_devices("GPU"):
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


_spare_tf_keras_from_autograph()
_leave_graphs_as_they_are()

__all__ = ["keras", "tf"]
