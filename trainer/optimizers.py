"""Optimizers whose step costs what the batch holds, not what the tables hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from trainer.keras2 import keras, tf
from trainer.settings import OptimizerName

STEPS = "steps"  # the slot of Adam that counts the steps of each row


class _SummedFirst(keras.optimizers.Optimizer):
    """Sums the gradients of a row that a batch looks up several times before they are clipped.

    Keras clips first. The norm of parts is not that of their sum: where they agree it is too small, and what is left
    after the sum may be longer than the norm allows; where they cancel out, a small gradient is made smaller.
    """

    def _clip_gradients(self, grads: Sequence[tf.Tensor | tf.IndexedSlices]) -> list[tf.Tensor | tf.IndexedSlices]:
        return super()._clip_gradients(super()._deduplicate_sparse_grad(grads))

    def _deduplicate_sparse_grad(
        self, grads: Sequence[tf.Tensor | tf.IndexedSlices]
    ) -> Sequence[tf.Tensor | tf.IndexedSlices]:
        return grads  # Keras asks for it after the clipping


class _RateByVariable(keras.optimizers.Optimizer):
    """Lets an optimizer make its steps on some variables at a multiple of its learning rate."""

    _learning_rate: tf.Variable

    def set_rates(self, factors: Mapping[str, float], variables: Mapping[str, tf.Variable]) -> None:
        """Takes each factor by the path in `variables`; what is not named has the factor 1. Before the first step."""
        self._factors = {self._var_key(variables[path]): factor for path, factor in factors.items()}

    def update_step(self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable) -> None:
        factor = getattr(self, "_factors", {}).get(self._var_key(variable), 1.0)
        if factor == 1.0:
            super().update_step(gradient, variable)
            return
        # Keras's step functions read the rate here and nowhere else; a scaled gradient would be normed away by them.
        rate = self._learning_rate
        self._learning_rate = rate * factor
        try:
            super().update_step(gradient, variable)
        finally:
            self._learning_rate = rate


class _SparseAdam(keras.optimizers.Adam):
    def set_row_rate(self, boost: float, touches: float, tables: Sequence[tf.Variable]) -> None:
        """Makes the first steps of each row of `tables` longer, see `trainer.settings.Schedule`. Before any step."""
        self._boost, self._touches = boost, touches
        self._boosted = {self._var_key(table) for table in tables} if boost != 1 else set()

    def build(self, var_list: Sequence[tf.Variable]) -> None:
        super().build(var_list)
        if not hasattr(self, "_steps"):
            self._steps = [
                self.add_variable_from_reference(variable, STEPS, shape=variable.shape[:1]) for variable in var_list
            ]

    def update_step(self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable) -> None:
        place = self._index_dict[self._var_key(variable)]
        m, v, steps = self._momentums[place], self._velocities[place], self._steps[place]
        rate = tf.cast(self.learning_rate, variable.dtype)
        if not isinstance(gradient, tf.IndexedSlices):
            steps.assign_add(tf.ones_like(steps))
            m.assign_add((gradient - m) * (1 - self.beta_1))
            v.assign_add((tf.square(gradient) - v) * (1 - self.beta_2))
            variable.assign_sub(rate * self._length(steps, m, variable) * m / (tf.sqrt(v) + self.epsilon))
            return
        rows, values = gradient.indices, gradient.values  # each row once, see `_SummedFirst`
        made = tf.gather(steps, rows) + 1
        new_m = self.beta_1 * tf.gather(m, rows) + (1 - self.beta_1) * values
        new_v = self.beta_2 * tf.gather(v, rows) + (1 - self.beta_2) * tf.square(values)
        steps.scatter_update(tf.IndexedSlices(made, rows))
        m.scatter_update(tf.IndexedSlices(new_m, rows))
        v.scatter_update(tf.IndexedSlices(new_v, rows))
        moved = rate * self._length(made, new_m, variable) * new_m / (tf.sqrt(new_v) + self.epsilon)
        variable.scatter_sub(tf.IndexedSlices(moved, rows))

    def _length(self, steps: tf.Tensor, like: tf.Tensor, variable: tf.Variable) -> tf.Tensor:
        """What the bias of both moments and a row's youth make of a step, a row each, to be multiplied with `like`."""
        # 1 - beta^steps without the rounding that a power near 1 has in float32.
        second = -tf.math.expm1(steps * math.log(self.beta_2))
        first = -tf.math.expm1(steps * math.log(self.beta_1))
        length = tf.sqrt(second) / first
        if self._var_key(variable) in getattr(self, "_boosted", ()):
            length *= 1.0 + (self._boost - 1.0) / (1.0 + (steps - 1.0) / self._touches)
        return tf.reshape(length, tf.concat([tf.shape(steps), [1] * (like.shape.rank - 1)], axis=0))


class LazyAdam(_SummedFirst, _RateByVariable, _SparseAdam):
    """Adam (Kingma and Ba, ICLR 2015, algorithm 1) in which each row of a variable counts its own steps.

    Keras's Adam lets the moments of every row decay and moves every row at each step: work on the whole table. Here a
    row's moments wait until the row occurs again, so a step on a table of any size costs the rows of the batch. The
    moments begin at zero and are corrected for it by how many steps they were made of (section 3), which for a row are
    its own: corrected by the optimizer's steps, the first moves of a row that comes late would be three times as long
    as the learning rate and more. Where every row has a gradient at every step the two are the same.

    Slots are named as Adam's, and `steps`, float32 [rows], or [] of a scalar. AMSGrad is not supported.
    """


def with_steps(slots: dict[str, np.ndarray], steps: int) -> dict[str, np.ndarray]:
    """Adam's slots of one variable, of a state that was saved before rows counted their steps, with that count.

    It is not known any more. A row whose second moment is zero has made no step; any other goes on as it was trained
    until then, corrected by all `steps` of the optimizer.
    """
    second = slots["v"]
    met = second.reshape(*second.shape[:1], -1).any(axis=-1)
    return {**slots, STEPS: np.where(met, steps, 0).astype(second.dtype)}


class Adagrad(_SummedFirst, _RateByVariable, keras.optimizers.Adagrad):
    """Keras's Adagrad, which touches the rows of the batch alone already."""


def make_optimizer(
    name: OptimizerName,
    learning_rate: float,
    clip_norm: float | None,
    initial_accumulator: float,
    weight_decay: float,
    tables: Sequence[tf.Variable] = (),
) -> LazyAdam | Adagrad:
    """The optimizer called `name`.

    Args:
      clip_norm: largest global norm of the gradients; None for any.
      initial_accumulator: where Adagrad's sums start.
      weight_decay: share of a weight, times the learning rate, that each step takes off (Loshchilov and Hutter,
        "Decoupled weight decay regularization", ICLR 2019, algorithm 2), of all variables but `tables`.
      tables: the variables with a row for each id, which would have to be decayed as a whole, and others that are not
        decayed.
    """
    common = {
        "learning_rate": learning_rate,
        "global_clipnorm": clip_norm,
        "weight_decay": weight_decay or None,
        "jit_compile": False,
    }
    if name == "adam":
        optimizer = LazyAdam(**common)
    else:
        optimizer = Adagrad(initial_accumulator_value=initial_accumulator, **common)
    optimizer.exclude_from_weight_decay(var_list=list(tables))
    return optimizer
