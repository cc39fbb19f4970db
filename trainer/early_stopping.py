"""Early stopping: what is watched on the held-out part, and the weights of the best epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from trainer.input_pipeline import Positions
from trainer.keras2 import keras
from trainer.learning_rate import WATCHED
from trainer.models.base import Recommender, TableSizes
from trainer.settings import Watch
from trainer.train_state import ModelState, Trainable

OnStep = Callable[[int, float], None]
OnEpoch = Callable[[int, int, float], None]

_K = 20  # of the watched ranking metrics
_BATCH = 1024


class TrainingError(RuntimeError):
    """Training can't go on; the message says why and what to do."""


class MonitoredMetric:
    """What is to improve: the mean loss over `positions`, which is to fall, or a ranking metric at 20, to rise.

    A model may go on to rank better long after its loss has begun to rise, as it grows too sure of itself.

    Args:
      weighted: whether the mean is by the events' weights (see `Recommender.weight_role`).
      agreed: makes of a value that one which all workers have (see `Distribution.agreed`).

    Attributes:
      positions: how many of them count.
    """

    def __init__(
        self,
        model: Recommender,
        positions: Positions,
        what: Watch,
        history_length: int,
        weighted: bool = False,
        batch_size: int = _BATCH,
        agreed: Callable[[float], float] = float,
    ) -> None:
        self._agreed = agreed
        self.model, self.what, self._weighted = model, what, weighted
        self.sign = 1.0 if what == "loss" else -1.0
        self.positions = int(np.sum(positions.weight > 0)) if weighted else len(positions)
        self._batches = positions.dataset(batch_size, history_length).cache()  # the same ones after every epoch

    def value(self) -> float:
        """The mean, of the model as it is now; nan without positions that count."""
        return self._agreed(self._mean())

    def _mean(self) -> float:
        graph: Any = self.model.held_out_step
        how: tuple = ()
        if self.what != "loss":
            graph, how = self.model.metrics_step, (self.what, _K, self._weighted)
        step = graph.get_concrete_function(self._batches.element_spec, *how)  # traced once for batches of every size
        total, count = 0.0, 0.0
        for batch in self._batches:
            size = float(np.sum(np.maximum(batch["weight"], 0))) if self._weighted else len(batch["item"])
            total += float(step(batch, *how)) * size
            count += size
        return total / count if count else float("nan")


def held_out_loss(model: Recommender, positions: Positions, history_length: int, batch_size: int = _BATCH) -> float:
    """Mean of the model's loss over `positions`, all of the same weight; nan without any."""
    return MonitoredMetric(model, positions, "loss", history_length, batch_size=batch_size).value()


class EarlyStopping(keras.callbacks.Callback):
    """Stops when what is watched no longer improves, and keeps weights and slots of the best epoch."""

    def __init__(
        self,
        trainable: Trainable,
        monitored: MonitoredMetric,
        epochs: int,
        patience: int,
        span: int,
        on_step: OnStep | None,
        on_epoch: OnEpoch | None,
    ) -> None:
        super().__init__()
        self._trainable, self._monitored = trainable, monitored
        self._most, self._patience, self._span = epochs, patience, span
        self._on_step, self._on_epoch = on_step, on_epoch
        self.best, self.train_loss, self.epochs = float("nan"), float("nan"), 0
        self._best_state: tuple | None = None
        self.since_best = 0
        self._losses: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._losses = []

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        loss = float((logs or {})["loss"])
        self._check_finite(loss, f"epoch {self.epochs + 1}, batch {batch}")
        self._losses.append(loss)
        if self._on_step:
            self._on_step(self._trainable.iterations, loss)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.epochs = epoch + 1
        self.train_loss = float(np.mean(self._losses))
        value, sign = self._monitored.value(), self._monitored.sign
        if self._on_epoch:
            self._on_epoch(self._span, self.epochs, value)
        if not self._monitored.positions:
            return
        if logs is not None:
            logs[WATCHED] = value  # for callbacks that come after
        # The last step's weights have met no other loss yet.
        self._check_finite(value, f"epoch {self.epochs}, on the held-out part")
        if not sign * value >= sign * self.best:
            self.best, self.since_best = value, 0
            if self.epochs < self._most:  # after the last epoch there is nothing to come back from
                self._best_state = (*self._trainable.read(), int(self._trainable.optimizer.iterations.numpy()))
            return
        self.since_best += 1
        if self.since_best > self._patience:
            self.model.stop_training = True

    def best_state(self, sizes: TableSizes) -> ModelState | None:
        """That of the best epoch; None where it is the model's own."""
        if not self.since_best or self._best_state is None:
            return None
        weights, slots, iterations = self._best_state
        return ModelState(weights, slots, iterations, sizes, ())

    def go_on(self, best: ModelState, watched: float, since_best: int, epochs: int, train_loss: float) -> None:
        """Goes on after `epochs`, of which that before the last `since_best` was best."""
        self._best_state = (best.weights, best.slots, best.iterations)
        self.best, self.since_best, self.epochs, self.train_loss = watched, since_best, epochs, train_loss

    def restore(self) -> None:
        """Goes back to the best epoch, unless it was the last."""
        if self.since_best and self._best_state is not None:
            weights, slots, iterations = self._best_state
            self._trainable.write(weights, slots)
            self._trainable.optimizer.iterations.assign(iterations)

    def _check_finite(self, loss: float, where: str) -> None:
        if not np.isfinite(loss):
            raise TrainingError(
                f"The loss must stay finite. Received: {loss} in span {self._span}, {where}. The champion stays in "
                "service; lower `update.learning_rate` or `update.clip_norm`, and look at the weights of that span's "
                "events."
            )
