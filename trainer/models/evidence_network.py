"""What was counted for an item, weighed by a small network: evidence that is worth more in one session than another."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from trainer.keras2 import keras, tf
from trainer.models.sequence_layers import noise

HIDDEN = 32
# What brings each input to a size near 1: shares as `Transitions` gives them, counts and popularity are logarithms.
_OF_SHARES = _OF_COUNTS = 0.25
_OF_LENGTHS = 0.5


class Cells(NamedTuple):
    """Pairs of a history and an item for which something was counted, n of them.

    Attributes:
      together, following: float32 [n], see `Transitions`.
      ago: int32 [n], how many events ago the item was met, as a class; 0 for not at all.
      times: float32 [n], how often it was met.
      item: int64 [n].
      position: int32 or int64 [n], the number of the history.
    """

    together: tf.Tensor
    following: tf.Tensor
    ago: tf.Tensor
    times: tf.Tensor
    item: tf.Tensor
    position: tf.Tensor


class EvidenceNetwork(keras.layers.Layer):
    """One hidden layer of ReLUs over what is known of a cell; what it gives is added to the cell's weighted sum.

    A sum says the same of an item that was met in a session of two events and of twelve, and of the neighbour of an
    item that was seen twice and two thousand times. It begins at nothing, and is not trained with the model: `Stacking`
    fits it on what the model has not learned.
    """

    def __init__(self, classes: int) -> None:
        super().__init__(dtype="float32")
        self._classes = classes
        width = 8 + classes
        self.hidden = self.add_weight("hidden", [width, HIDDEN], initializer=noise(width**-0.5), trainable=False)
        self.bias = self.add_weight("bias", [HIDDEN], initializer="zeros", trainable=False)
        self.output_ = self.add_weight("output", [HIDDEN], initializer="zeros", trainable=False)

    def inputs(self, cells: Cells, history: tf.Tensor, of_items: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        """float32 [n, width].

        Args:
          cells: of the histories.
          history: int64 [b, h], 0 in front.
          of_items: log popularity and log count, float32 [n, 2] for int64 [n] rows.
        """
        present = history > 0
        steps = tf.range(tf.shape(history)[1])
        again = tf.reduce_any((history[:, :, None] == history[:, None, :]) & (steps[:, None] > steps), axis=2)
        of_history = tf.stack(
            [
                _OF_COUNTS * of_items(history[:, -1])[:, 1],
                _OF_LENGTHS * tf.math.log1p(_count(present)),
                _OF_LENGTHS * tf.math.log1p(_count(present & ~again)),
            ],
            axis=1,
        )
        shares = _OF_SHARES * tf.stack([cells.together, cells.following], axis=1)
        met = tf.math.log1p(cells.times)[:, None]
        of_item = _OF_COUNTS * of_items(cells.item)
        classes = tf.one_hot(cells.ago, self._classes)
        return tf.concat([shares, met, of_item, tf.gather(of_history, cells.position), classes], axis=1)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """float32 [n] for [n, width]."""
        return tf.linalg.matvec(tf.nn.relu(inputs @ self.hidden + self.bias), self.output_)

    @property
    def parameters(self) -> np.ndarray:
        """All of them as one float64 vector."""
        return np.concatenate([of.numpy().ravel() for of in (self.hidden, self.bias, self.output_)]).astype(np.float64)

    def assign(self, parameters: np.ndarray) -> None:
        for variable, value in zip((self.hidden, self.bias, self.output_), _parts(parameters), strict=True):
            variable.assign(value)


def forward(parameters: np.ndarray, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the network of `parameters` gives for [..., width], and its hidden layer [..., HIDDEN]."""
    kernel, bias, output = _parts(parameters)
    hidden = np.maximum(inputs @ kernel.astype(inputs.dtype) + bias.astype(inputs.dtype), 0)
    return hidden @ output.astype(inputs.dtype), hidden


def gradient(parameters: np.ndarray, inputs: np.ndarray, hidden: np.ndarray, of_output: np.ndarray) -> np.ndarray:
    """The gradient of a loss by `parameters`, from that by what `forward` gave [...]."""
    output = _parts(parameters)[2].astype(inputs.dtype)
    flat, units = inputs.reshape(-1, inputs.shape[-1]), hidden.reshape(-1, HIDDEN)
    of_value = of_output.reshape(-1)
    of_units = of_value[:, None] * output * (units > 0)
    return np.concatenate([(flat.T @ of_units).ravel(), of_units.sum(axis=0), of_value @ units]).astype(np.float64)


def _parts(parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    kernel, bias, output = np.split(parameters, [len(parameters) - 2 * HIDDEN, len(parameters) - HIDDEN])
    return kernel.reshape(-1, HIDDEN), bias, output


def _count(true: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(true, tf.float32), axis=1)
