"""A pruned table on the disk: the weights that are left and a bit a weight that says where, unpacked at load."""

from __future__ import annotations

import hashlib

import numpy as np
import tensorflow as tf

_SLICE = 1 << 22  # weights that are unpacked at a time: what lies between takes several times their bytes


class PackedTable(tf.Module):
    """Reads as a variable does, and is saved in fewer bytes. In memory it is as large as the table, and those more.

    A request meets the whole table and nothing of this: to multiply by what is left alone, or to unpack it for each
    request, costs a processor several times what the zeros do.

    Attributes:
      mask: uint8 [n, ceil(d / 8)], a bit a weight, the lowest first.
      values: [n, m], what is left of each row, in its order.
    """

    def __init__(self, values: np.ndarray, kept: np.ndarray) -> None:
        """Packs `values` [n, d], of which as many are kept in each row, bool [n, d]."""
        super().__init__()
        self.shape = values.shape
        left = kept.sum(axis=1)
        if (left != left[:1]).any():
            raise ValueError(f"As many weights of each row must be kept. Received: {left.min()} to {left.max()}.")
        bits = np.packbits(kept, axis=1, bitorder="little")
        packed = values[kept].reshape(len(values), int(left.max(initial=0)))
        self.mask = tf.Variable(bits, trainable=False, name="packed_mask")
        self.values = tf.Variable(packed, trainable=False, name="packed_values")
        # By content: a name that two tables share in one process must mean the same.
        digest = hashlib.sha256(repr((values.shape, packed.dtype)).encode() + bits.tobytes() + packed.tobytes())
        self.unpacked = _Unpacked(self.mask, self.values, values.shape, digest.hexdigest())

    def read_value(self) -> tf.Tensor:
        """The table, [n, d], with zeros."""
        return self.unpacked.read_value()


class _Unpacked(tf.saved_model.experimental.TrackableResource):
    """A variable that is not saved: it is filled from others when the model is loaded.

    It goes with its session. What `tf.saved_model.load` made stays until the process ends, because a signature that
    outlives the object which it was taken from, as it does in the gate, must still find it.
    """

    def __init__(self, mask: tf.Variable, values: tf.Variable, shape: tuple[int, ...], name: str) -> None:
        super().__init__()
        self._mask, self._values, self._shape, self._shared_name = mask, values, shape, name
        self._initialize()

    def read_value(self) -> tf.Tensor:
        value = tf.raw_ops.ReadVariableOp(resource=self.resource_handle, dtype=self._values.dtype)
        return tf.ensure_shape(value, self._shape)

    def _create_resource(self) -> tf.Tensor:
        return tf.raw_ops.VarHandleOp(
            dtype=self._values.dtype, shape=self._shape, shared_name=f"unpacked_{self._shared_name}"
        )

    def _initialize(self) -> None:
        rows, width = self._shape
        step = max(1, _SLICE // max(1, width))
        mask, values = self._mask.read_value(), self._values.read_value()
        parts: list[tf.Tensor] = []
        for start in range(0, rows, step):
            # One after the other, so that no more than one slice's places are in memory.
            with tf.control_dependencies(parts[-1:]):
                part = mask[start : start + step]
            parts.append(_unpack(part, values[start : start + step], width))
        table = tf.concat(parts, axis=0) if parts else tf.zeros(self._shape, values.dtype)
        tf.raw_ops.AssignVariableOp(resource=self.resource_handle, value=table)


def _unpack(mask: tf.Tensor, values: tf.Tensor, width: int) -> tf.Tensor:
    bits = tf.constant([1 << bit for bit in range(8)], tf.uint8)
    kept = tf.bitwise.bitwise_and(mask[:, :, None], bits) > 0
    kept = tf.reshape(kept, [tf.shape(mask)[0], 8 * mask.shape[1]])[:, :width]
    place = tf.cumsum(tf.cast(kept, tf.int32), axis=1, exclusive=True)
    place = tf.minimum(place, values.shape[1] - 1)  # behind the last one that is left
    return tf.where(kept, tf.gather(values, place, axis=1, batch_dims=1), tf.zeros([], values.dtype))
