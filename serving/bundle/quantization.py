"""Item tables of fewer bits than the trained one, read a slice at a time: a request never copies the catalogue."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from serving.bundle.index_settings import Precision
from serving.bundle.protocols import ItemTable

_SLICE_BYTES = 4 << 20  # of a slice in float32: as much as stays in a processor's cache between two operations


class Float16Table:
    """Half the bytes; a value is off by at most one part in two thousand."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = tf.Variable(values.astype(np.float16), trainable=False, name="items_float16")

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        return tf.cast(_gather(self.values, rows), tf.float32)

    def product(self, query: tf.Tensor) -> tf.Tensor:
        return _sliced_product(query, self.values)


class Int8Table:
    """A quarter of the bytes and a step a row: its largest value is 127 steps."""

    def __init__(self, values: np.ndarray) -> None:
        step = np.maximum(np.abs(values).max(axis=1, initial=0.0), np.finfo(np.float32).tiny) / 127
        self.values = tf.Variable(np.rint(values / step[:, None]).astype(np.int8), trainable=False, name="items_int8")
        self.step = tf.Variable(step.astype(np.float32), trainable=False, name="items_step")

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        return tf.cast(_gather(self.values, rows), tf.float32) * _gather(self.step, rows)[..., None]

    def product(self, query: tf.Tensor) -> tf.Tensor:
        return _sliced_product(query, self.values) * self.step


def in_precision(values: tf.Variable, precision: Precision) -> ItemTable | None:
    """The table in another precision; None for float32, which the model has."""
    if precision == "float32":
        return None
    return (Float16Table if precision == "float16" else Int8Table)(values.numpy())


def _gather(values: tf.Variable, rows: tf.Tensor) -> tf.Tensor:
    # Not from the variable: once that has run, TensorFlow copies all of the variable whenever it is read.
    return tf.gather(values.read_value(), rows)


def _sliced_product(query: tf.Tensor, values: tf.Variable) -> tf.Tensor:
    size, width = values.shape
    step = max(1, _SLICE_BYTES // (4 * max(width, 1)))
    table = values.read_value()
    parts: list[tf.Tensor] = []
    for start in range(0, size, step):
        # One after the other: side by side, the slices would be the copy that they are there to avoid.
        with tf.control_dependencies(parts[-1:]):
            part = tf.cast(table[start : start + step], tf.float32)
        parts.append(tf.matmul(query, part, transpose_b=True))
    return tf.concat(parts, axis=1)
