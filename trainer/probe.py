"""Picks a span's learning rate from a small set by trying each for a few steps."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np

from trainer.keep_best import Watched
from trainer.keras2 import keras, tf
from trainer.state import Trainable

_log = logging.getLogger(__name__)


def choose_rate(
    learner: keras.Model,
    trainable: Trainable,
    watched: Watched,
    data: Callable[[], tf.data.Dataset],
    rates: Sequence[float],
    steps: int,
    span: int,
) -> tuple[float, str]:
    """The rate after whose `steps` the held-out part, the hours next after the span's, looks best, and why.

    Every rate starts from the same weights and slots and sees the same first batches; after it everything is put back.
    A bandit over the days (as for hyperparameters on streams: Veloso et al., "Self hyper-parameter tuning for data
    streams", Discovery Science 2018) would cost no step, but it learns from one noisy, drifting reward a day, weeks for
    a handful of rates, and keeps a state that a rollback would have to undo. The probe compares like with like today
    and remembers nothing. It looks as far as its steps: too few of them favour small rates (Wu et al., "Understanding
    short-horizon bias in stochastic meta-optimization", ICLR 2018), so they should be a good part of an epoch.

    Args:
      learner: compiled with the optimizer of `trainable`.
      data: gives the span's batches from their beginning.
      rates: at least one.
    """
    if not watched.positions:
        return rates[0], f"Span {span}: learning rate {rates[0]:g}, the first, for want of a held-out part."
    weights, slots = trainable.read()
    iterations = int(trainable.optimizer.iterations.numpy())
    found = []
    for rate in rates:
        trainable.optimizer.learning_rate = rate
        learner.fit(data().take(steps), epochs=1, verbose=0)
        found.append(watched.value())
        trainable.write(weights, slots)
        trainable.optimizer.iterations.assign(iterations)
    order = np.where(np.isfinite(found), watched.sign * np.array(found), np.inf)
    best = int(np.argmin(order))
    tried = ", ".join(f"{value:.5g} at {rate:g}" for rate, value in zip(rates, found, strict=True))
    note = f"Span {span}: learning rate {rates[best]:g}, by the held-out {watched.what} after {steps} steps: {tried}."
    _log.info(note)
    return rates[best], note
