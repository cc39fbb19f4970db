"""Item tables of fewer bits or weights than the trained one; no request copies the catalogue.

What has fewer bits is read a slice at a time, and what has fewer weights is packed on the disk alone.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from serving.bundle.index_settings import IndexSettings
from serving.bundle.packed_table import PackedTable
from serving.bundle.pruning import largest_of_rows

_SLICE_BYTES = 4 << 20  # of a slice in float32: as much as stays in a processor's cache between two operations


class Stored(Protocol):
    """What a table's values are read from: a variable, or a `PackedTable`."""

    @property
    def shape(self) -> Any: ...

    def read_value(self) -> tf.Tensor: ...


class Float32Table:
    """The trained values. `kept`, here and below: bool [n, d], which weights are left; None for all."""

    def __init__(self, values: np.ndarray, kept: np.ndarray | None = None) -> None:
        self.values = _stored(values.astype(np.float32), kept, "items_float32")

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        return _gather(self.values, rows)

    def product(self, query: tf.Tensor) -> tf.Tensor:
        return tf.matmul(query, self.values.read_value(), transpose_b=True)

    def between(self, first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
        return _between(self.values, first, last)


class Float16Table:
    """Half the bytes; a value is off by at most one part in two thousand."""

    def __init__(self, values: np.ndarray, kept: np.ndarray | None = None) -> None:
        self.values = _stored(values.astype(np.float16), kept, "items_float16")

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        return tf.cast(_gather(self.values, rows), tf.float32)

    def product(self, query: tf.Tensor) -> tf.Tensor:
        return _sliced_product(query, self.values)

    def between(self, first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
        return _between(self.values, first, last)


class Int8Table:
    """A quarter of the bytes and a step a row: its largest value is 127 steps."""

    def __init__(self, values: np.ndarray, kept: np.ndarray | None = None) -> None:
        step = np.maximum(np.abs(values).max(axis=1, initial=0.0), np.finfo(np.float32).tiny) / 127
        self.values = _stored(np.rint(values / step[:, None]).astype(np.int8), kept, "items_int8")
        self.step = tf.Variable(step.astype(np.float32), trainable=False, name="items_step")

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        return tf.cast(_gather(self.values, rows), tf.float32) * _gather(self.step, rows)[..., None]

    def product(self, query: tf.Tensor) -> tf.Tensor:
        return _sliced_product(query, self.values) * self.step

    def between(self, first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
        return _between(self.values, first, last) * self.step.read_value()[first:last, None]


ServedTable = Float32Table | Float16Table | Int8Table
_TABLES: dict[str, type[ServedTable]] = {"float32": Float32Table, "float16": Float16Table, "int8": Int8Table}


def served_table(values: tf.Variable, settings: IndexSettings) -> ServedTable | None:
    """The table as it is to be served; None where that is the one which the model has."""
    if settings.table == "float32" and not settings.pruning:
        return None
    trained = values.numpy()
    kept = largest_of_rows(trained, settings.pruning) if settings.pruning else None
    return _TABLES[settings.table](trained, kept)


def _stored(values: np.ndarray, kept: np.ndarray | None, name: str) -> Stored:
    if kept is None:
        return tf.Variable(values, trainable=False, name=name)
    packed = values.itemsize * int(kept.sum()) + kept.shape[0] * -(-kept.shape[1] // 8)
    if packed >= values.nbytes:
        return tf.Variable(values * kept, trainable=False, name=name)
    return PackedTable(values, kept)


def _gather(values: Stored, rows: tf.Tensor) -> tf.Tensor:
    # Not from the variable: once that has run, TensorFlow copies all of the variable whenever it is read.
    return tf.gather(values.read_value(), rows)


def _between(values: Stored, first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
    return tf.cast(values.read_value()[first:last], tf.float32)


def _sliced_product(query: tf.Tensor, values: Stored) -> tf.Tensor:
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
