"""What a training step that XLA compiles must do otherwise: draw by a seed, and keep the shapes that it was given.

A step that several replicas share draws by a seed too (see `seeded_step`).

XLA draws from a generator of its own, which no seed reaches (tensorflow.org/xla/known_issues). A compiled step draws
without a state instead, by a seed that follows from the update's and the number of the step: the same seed is the same
model there too. And a shape that depends on values, as that of a mask's choice or of what is unique, is none for XLA:
a compiled step computes all and weighs what does not count with 0, and what is unique it is told (see
`Recommender.prepare`).
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from trainer.keras2 import keras, tf
from trainer.replicas import is_shared, replica_number

_GENERATOR = "philox"  # by name: what TensorFlow chooses depends on who compiles
_LEVELS = 1 << 16  # of a draw of 16 bits
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1  # of an int64


@dataclasses.dataclass
class _Seeds:
    seed: tf.Tensor
    compiled: bool
    given: int = 0

    def next(self, of_rows: bool) -> tf.Tensor:
        """A seed for each place in the graph that draws; of what is drawn for rows, one for each replica too."""
        self.given += 1
        seed = tf.random.experimental.stateless_fold_in(self.seed, self.given, alg=_GENERATOR)
        if of_rows and is_shared():
            seed = tf.random.experimental.stateless_fold_in(seed, replica_number(), alg=_GENERATOR)
        return seed


_SEEDS: contextvars.ContextVar[_Seeds | None] = contextvars.ContextVar("_SEEDS", default=None)


@contextlib.contextmanager
def compiled_step(seed: tf.Tensor) -> Iterator[None]:
    """What is traced within is for XLA: what it draws follows from int64 [2] `seed` alone."""
    with _drawing(_Seeds(seed, compiled=True)):
        yield


@contextlib.contextmanager
def seeded_step(seed: tf.Tensor) -> Iterator[None]:
    """What is traced within draws as in `compiled_step`, and is not compiled."""
    with _drawing(_Seeds(seed, compiled=False)):
        yield


@contextlib.contextmanager
def _drawing(seeds: _Seeds) -> Iterator[None]:
    token = _SEEDS.set(seeds)
    try:
        yield
    finally:
        _SEEDS.reset(token)


def is_compiled() -> bool:
    """Whether shapes must not depend on values."""
    seeds = _SEEDS.get()
    return seeds is not None and seeds.compiled


def uniform(shape: Sequence[Any] | tf.Tensor, low: Any, high: Any, dtype: tf.DType, of_rows: bool = False) -> tf.Tensor:
    """As `tf.random.uniform`, and by the very same operations where nothing is compiled or shared.

    Replicas that share a step draw the same, as of negatives, or each its own, where it is drawn `of_rows` of a batch.
    """
    seeds = _SEEDS.get()
    if seeds is None:
        return tf.random.uniform(shape, low, high, dtype)
    return tf.random.stateless_uniform(shape, seeds.next(of_rows), low, high, dtype, alg=_GENERATOR)


def dropout(values: tf.Tensor, rate: float) -> tf.Tensor:
    """As `tf.nn.dropout` (Srivastava et al., "Dropout", JMLR 15, 2014), of float32 [..., d] values.

    Where nothing is compiled a value takes 16 of the generator's bits in place of 32, since numbers to draw are most of
    what it costs: `rate` is met to 1 / 65,536.
    """
    if not rate:
        return values
    seeds = _SEEDS.get()
    if seeds is not None:
        return tf.nn.experimental.stateless_dropout(values, rate, seeds.next(of_rows=True), rng_alg=_GENERATOR)
    width, dropped = values.shape[-1], max(1, round(rate * _LEVELS))
    words = tf.random.uniform([*tf.unstack(tf.shape(values)[:-1]), -(-width // 4)], _LEAST, _MOST, tf.int64)
    level = tf.reshape(tf.bitcast(words, tf.uint16), [*tf.unstack(tf.shape(words)[:-1]), 4 * words.shape[-1]])
    kept = level[..., :width] if width % 4 else level
    return values * (tf.cast(kept >= tf.constant(dropped, tf.uint16), values.dtype) * (_LEVELS / (_LEVELS - dropped)))


class Dropout(keras.layers.Dropout):
    """Keras's, in float32 and with the draws of this module."""

    def __init__(self, rate: float) -> None:
        super().__init__(rate, dtype="float32")

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        if training and _SEEDS.get() is not None:
            return dropout(inputs, self.rate)
        return super().call(inputs, training=training)
