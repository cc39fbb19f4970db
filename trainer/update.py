"""One span's update: previous state + spans + policy -> next state.

The heart: the pipeline's trainer and the backtest both call `update`, so that what is measured is what runs.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence

import numpy as np

from trainer.input import Positions, Sequences
from trainer.keras2 import keras
from trainer.models import build_model
from trainer.models.base import Recommender, TableSizes
from trainer.state import ModelState, Trainable
from trainer.warm_start import NewRows, warm_start

OnStep = Callable[[int, float], None]
OnEpoch = Callable[[int, int, float], None]


class TrainingError(RuntimeError):
    """Training can't go on; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """Which model: `type` is a built-in name or a dotted path, `params` its keyword arguments."""

    type: str
    params: dict
    history_length: int


@dataclasses.dataclass(frozen=True)
class Policy:
    """How a span changes a model; the `update` section of the settings."""

    epochs: int = 5
    batch_size: int = 256
    optimizer: str = "adagrad"
    learning_rate: float = 0.1
    clip_norm: float | None = 10.0
    patience: int = 1
    new_rows: NewRows = "cooccurrence"
    seed: int = 1


@dataclasses.dataclass(frozen=True)
class Span:
    """A span's number and its training sequences."""

    number: int
    sequences: Sequences


@dataclasses.dataclass(frozen=True)
class Update:
    """A trained model, its state for the next warm start, and what the training cost."""

    model: Recommender
    state: ModelState
    examples: int
    epochs: int
    seconds: float
    train_loss: float
    held_out_loss: float


def update(
    spec: ModelSpec,
    sizes: TableSizes,
    spans: Sequence[Span],
    held_out: Positions,
    popularity: np.ndarray,
    policy: Policy,
    base: ModelState | None = None,
    on_step: OnStep | None = None,
    on_epoch: OnEpoch | None = None,
) -> Update:
    """Trains on `spans` in order, from `base` or from nothing.

    Args:
      spec: the model.
      sizes: rows of its tables, at least those of `base`.
      spans: what has not been learned yet, oldest first.
      held_out: watched for early stopping; never trained on here.
      popularity: float64 [sizes.items], see `Recommender.set_popularity`.
      policy: how to train.
      base: the state to start from; None for a cold start.
      on_step: called with the global step and its loss.
      on_epoch: called with span, epoch (from 1) and the loss on `held_out`.

    Raises:
      TrainingError: a loss is not finite.
      StateError: `base` does not fit the model.
    """
    started = time.perf_counter()
    keras.utils.set_random_seed(policy.seed + (spans[-1].number if spans else 0))
    model = build_model(spec.type, sizes, spec.history_length, spec.params)
    trainable = Trainable(model, _optimizer(policy))
    if base is not None:
        warm_start(trainable, base, sizes, policy.new_rows, spans[-1].sequences)
    model.set_popularity(popularity)
    model.compile(optimizer=trainable.optimizer)

    examples, epochs, train_loss, best = 0, 0, float("nan"), float("nan")
    for span in spans:
        positions = span.sequences.positions()
        if not len(positions):
            continue
        keeper = _KeepBest(trainable, held_out, policy, spec.history_length, span.number, on_step, on_epoch)
        data = positions.dataset(policy.batch_size, spec.history_length, shuffle_seed=policy.seed + span.number)
        model.fit(data, epochs=policy.epochs, callbacks=[keeper], verbose=0)
        keeper.restore()
        examples += keeper.epochs * len(positions)
        epochs += keeper.epochs
        train_loss, best = keeper.train_loss, keeper.best
    learned = (*(base.learned if base is not None else ()), *(span.number for span in spans))
    return Update(
        model, trainable.state(sizes, learned), examples, epochs, time.perf_counter() - started, train_loss, best
    )


def held_out_loss(model: Recommender, positions: Positions, history_length: int, batch_size: int = 1024) -> float:
    """Mean of the model's loss over `positions`; nan without any."""
    loss = model.held_out_step
    total, count = 0.0, 0
    for batch in positions.dataset(batch_size, history_length):
        size = int(batch["item"].shape[0])
        total += float(loss(batch)) * size
        count += size
    return total / count if count else float("nan")


def _optimizer(policy: Policy) -> keras.optimizers.Optimizer:
    kind = {"adagrad": keras.optimizers.Adagrad, "adam": keras.optimizers.Adam}[policy.optimizer]
    return kind(policy.learning_rate, global_clipnorm=policy.clip_norm, jit_compile=False)


class _KeepBest(keras.callbacks.Callback):
    """Stops when the held-out loss no longer falls, and keeps weights and slots of the best epoch."""

    def __init__(
        self,
        trainable: Trainable,
        held_out: Positions,
        policy: Policy,
        history_length: int,
        span: int,
        on_step: OnStep | None,
        on_epoch: OnEpoch | None,
    ) -> None:
        super().__init__()
        self._trainable, self._held_out, self._policy = trainable, held_out, policy
        self._history_length, self._span = history_length, span
        self._on_step, self._on_epoch = on_step, on_epoch
        self.best, self.train_loss, self.epochs = float("nan"), float("nan"), 0
        self._best_state: tuple | None = None
        self._since_best = 0
        self._losses: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._losses = []

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        loss = float((logs or {})["loss"])
        if not np.isfinite(loss):
            raise TrainingError(
                f"The loss must stay finite. Received: {loss} in span {self._span}, epoch {self.epochs + 1}, batch "
                f"{batch}. The champion stays in service; lower `update.learning_rate` or `update.clip_norm`, and look "
                "at the weights of that span's events."
            )
        self._losses.append(loss)
        if self._on_step:
            self._on_step(int(self._trainable.optimizer.iterations.numpy()), loss)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.epochs = epoch + 1
        self.train_loss = float(np.mean(self._losses))
        loss = held_out_loss(self.model, self._held_out, self._history_length)
        if self._on_epoch:
            self._on_epoch(self._span, self.epochs, loss)
        if not len(self._held_out) or not loss >= self.best:
            self.best, self._since_best = loss, 0
            self._best_state = (*self._trainable.read(), int(self._trainable.optimizer.iterations.numpy()))
            return
        self._since_best += 1
        if self._since_best > self._policy.patience:
            self.model.stop_training = True

    def restore(self) -> None:
        if self._since_best and self._best_state is not None:
            weights, slots, iterations = self._best_state
            self._trainable.write(weights, slots)
            self._trainable.optimizer.iterations.assign(iterations)

