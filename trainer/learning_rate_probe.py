"""Picks a span's learning rate from a small set by trying each for a few steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from trainer.accelerated_learner import loss_scale
from trainer.early_stopping import MonitoredMetric
from trainer.keras2 import keras, tf
from trainer.train_state import Trainable


@dataclasses.dataclass(frozen=True)
class Choice:
    """A learning rate, why it was chosen, and how many steps that took."""

    rate: float
    reason: str
    steps: int


def fit(learner: keras.Model, data: tf.data.Dataset) -> None:
    """One epoch of `data`."""
    learner.fit(data, epochs=1, verbose=0)


def choose_rate(
    learner: keras.Model,
    trainable: Trainable,
    monitored: MonitoredMetric,
    data: Callable[[], tf.data.Dataset],
    rates: Sequence[float],
    steps: int,
    fit: Callable[[keras.Model, tf.data.Dataset], None] = fit,
) -> Choice:
    """The rate after whose `steps` the held-out part, the hours next after the span's, looks best.

    Every rate starts from the same weights and slots and sees the same first batches; after it everything is put back.
    A bandit over the days (as for hyperparameters on streams: Veloso et al., "Self hyper-parameter tuning for data
    streams", Discovery Science 2018) would cost no step, but it learns from one noisy, drifting reward a day, weeks for
    a handful of rates, and keeps a state that a rollback would have to undo. The probe compares like with like today
    and remembers nothing. It looks as far as its steps: too few of them favour small rates (Wu et al., "Understanding
    short-horizon bias in stochastic meta-optimization", ICLR 2018), so they should be a good part of an epoch.

    Args:
      learner: compiled with the optimizer of `trainable`, or with that and a loss scale.
      data: gives the span's batches from their beginning.
      rates: at least one.
      fit: trains a learner on an epoch of data.
    """
    if not monitored.positions:
        return Choice(rates[0], f"learning rate {rates[0]:g}, the first, as nothing is held out.", 0)
    weights, slots = trainable.read()
    scale = [(variable, variable.numpy()) for variable in loss_scale(learner.optimizer)]
    iterations = int(trainable.optimizer.iterations.numpy())
    trials, made = [], 0
    for rate in rates:
        trainable.optimizer.learning_rate = rate
        fit(learner, data().take(steps))
        trials.append(monitored.value())
        made += int(trainable.optimizer.iterations.numpy()) - iterations
        trainable.write(weights, slots)
        trainable.optimizer.iterations.assign(iterations)
        for variable, value in scale:
            variable.assign(value)
    best = int(np.argmin(np.where(np.isfinite(trials), monitored.sign * np.array(trials), np.inf)))
    tried = ", ".join(f"{value:.5g} at {rate:g}" for rate, value in zip(rates, trials, strict=True))
    reason = (
        f"learning rate {rates[best]:g}, by the held-out {monitored.what} after {made // len(rates)} steps: {tried}."
    )
    return Choice(rates[best], reason, made)
