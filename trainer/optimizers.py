"""Optimizers whose step costs what the batch holds, not what the tables hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trainer.keras2 import keras, tf
from trainer.settings import OptimizerName


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
    def update_step(self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable) -> None:
        if not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable)
            return
        # Keras has summed the gradients of a row that occurs several times before it comes here.
        rows, values = gradient.indices, gradient.values
        place = self._index_dict[self._var_key(variable)]
        m, v = self._momentums[place], self._velocities[place]
        step = tf.cast(self.iterations + 1, variable.dtype)
        length = tf.sqrt(1 - tf.pow(self.beta_2, step)) / (1 - tf.pow(self.beta_1, step))
        rate = tf.cast(self.learning_rate, variable.dtype) * length
        new_m = self.beta_1 * tf.gather(m, rows) + (1 - self.beta_1) * values
        new_v = self.beta_2 * tf.gather(v, rows) + (1 - self.beta_2) * tf.square(values)
        m.scatter_update(tf.IndexedSlices(new_m, rows))
        v.scatter_update(tf.IndexedSlices(new_v, rows))
        variable.scatter_sub(tf.IndexedSlices(rate * new_m / (tf.sqrt(new_v) + self.epsilon), rows))


class LazyAdam(_RateByVariable, _SparseAdam):
    """Adam (Kingma and Ba, ICLR 2015, algorithm 1) that leaves alone the rows that a batch did not look up.

    Keras's Adam lets the moments of every row decay and moves every row at each step: work on the whole table. Here a
    row's moments wait until the row occurs again, so a step on a table of any size costs the rows of the batch. Where
    every row has a gradient the two are the same. Slots are named as Adam's. AMSGrad is not supported for tables.
    """


class Adagrad(_RateByVariable, keras.optimizers.Adagrad):
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
