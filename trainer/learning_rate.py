"""The learning rate: within a span step by step, and across spans through the optimizer's accumulators."""

from __future__ import annotations

import math

import numpy as np

from trainer.keras2 import keras
from trainer.optimizers import STEPS
from trainer.settings import Schedule
from trainer.train_state import Arrays, Trainable

WATCHED = "watched"  # the log of an epoch that holds what is watched on the held-out part


class WithinSpan(keras.callbacks.Callback):
    """Sets the learning rate before each step. Early stopping may end a span before the cosine does.

    Args:
      peak: the learning rate that the schedule gives shares of.
      steps: of an epoch; `epochs`: at most so many, of which the first `begun` are learned already.
    """

    def __init__(self, schedule: Schedule, peak: float, steps: int, epochs: int, begun: int) -> None:
        super().__init__()
        self._schedule, self._peak, self._steps, self._step = schedule, peak, steps * epochs, steps * begun

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.model.optimizer.learning_rate = self._peak

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        if self._schedule.within == "cosine":
            self.model.optimizer.learning_rate = self._peak * self._schedule.rate(self._step, self._steps)
            self._step += 1


def on_plateau(schedule: Schedule, watch: str) -> keras.callbacks.Callback | None:
    """Keras's own `ReduceLROnPlateau` over the log `watched`, which is to fall if it is a loss, and else to rise.

    None where the schedule is another.
    """
    if schedule.within != "plateau":
        return None
    return keras.callbacks.ReduceLROnPlateau(
        monitor=WATCHED,
        mode="min" if watch == "loss" else "max",
        factor=schedule.factor,
        patience=schedule.patience,
        min_delta=0.0,
    )


def enter_span(trainable: Trainable, initial: dict[str, Arrays], schedule: Schedule) -> None:
    """Moves the accumulators of what was learned before towards `initial`, as `schedule.slots` says.

    A sum that only grows, as Adagrad's does, makes each day count less than the one before. Decayed, it forgets at the
    pace of `keep` a span (for streams: McMahan et al., "Ad click prediction: a view from the trenches", KDD 2013,
    section 3.1, has the sum; Zeiler, "ADADELTA", 2012, section 3.1, lets it decay).

    Args:
      trainable: the model and its optimizer.
      initial: the slots of an optimizer that has made no step, of the same shapes.
      schedule: what to do.
    """
    if schedule.slots == "carry":
        return
    keep = schedule.keep if schedule.slots == "decay" else 0.0
    for path, slots in trainable.slots.items():
        for name, slot in slots.items():
            if name == STEPS:
                slot.assign(_steps_left(slot.numpy(), keep, trainable.optimizer.beta_2))
                continue
            fresh = initial[path][name]
            slot.assign(fresh + np.asarray(keep, fresh.dtype) * (slot.numpy() - fresh))


def _steps_left(steps: np.ndarray, keep: float, beta: float) -> np.ndarray:
    """After how many of `steps` Adam's second moment would have the weight that its kept part has.

    Adam divides it by the weight that its mean has by now, 1 - beta^steps. Of a mean that was made smaller the weight
    is smaller too; uncorrected, the first steps after a reset would be 3 times too long.
    """
    if keep == 1.0:
        return steps
    weight = -keep * np.expm1(steps.astype(np.float64) * math.log(beta))
    return (np.log1p(-weight) / math.log(beta)).astype(steps.dtype)
