"""One span's update: previous state + spans + policy -> next state.

The heart: the pipeline's trainer and the backtest both call `update`, so that what is measured is what runs.
"""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.feed import feed_of
from trainer.input import Positions, Sequences, concatenate
from trainer.keep_best import KeepBest, OnEpoch, OnStep, TrainingError, Watch, Watched
from trainer.keras2 import tf
from trainer.models import build_model
from trainer.models.base import Recommender, TableSizes
from trainer.optimizers import OptimizerName, make_optimizer
from trainer.schedule import Schedule, WithinSpan, enter_span
from trainer.stability import Stability
from trainer.stability.base import NEW, Learner, Part
from trainer.stability.proximal import Proximal
from trainer.stability.replay import MemoryFileError, Replay, ReplayMemory
from trainer.state import ModelState, StateError, Trainable, named_variables
from trainer.warm_start import NewRows, warm_start


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """Which model: `type` is a built-in name or a dotted path, `params` its keyword arguments."""

    type: str
    params: dict
    history_length: int


@dataclasses.dataclass(frozen=True)
class Policy:
    """How a span changes a model; the `update` section of the settings.

    `initial_accumulator` is Adagrad's: a row's first steps are as long as the learning rate where it is far below the
    row's squared gradients, which are small under a mean over the batch; at Keras's 0.1 a seldom row hardly moves.
    `watch` is what is to improve on the held-out part, or training stops after `patience` more epochs.
    """

    epochs: int = 5
    batch_size: int = 256
    optimizer: OptimizerName = "adagrad"
    learning_rate: float = 0.1
    initial_accumulator: float = 0.1
    clip_norm: float | None = 10.0
    patience: int = 1
    watch: Watch = "loss"
    new_rows: NewRows = "cooccurrence"
    seed: int = 1
    stability: Stability = dataclasses.field(default_factory=Stability)
    schedule: Schedule = dataclasses.field(default_factory=Schedule)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Policy:
        """Reads what `dataclasses.asdict` gives; what is not given has its default."""
        parts = {
            "stability": Stability.from_dict(raw.get("stability", {})),
            "schedule": Schedule(**raw.get("schedule", {})),
        }
        return cls(**{**raw, **parts})


@dataclasses.dataclass(frozen=True)
class Span:
    """A span's number and its training sequences."""

    number: int
    sequences: Sequences


@dataclasses.dataclass(frozen=True)
class Update:
    """A trained model, its state for the next warm start, and what the training cost.

    Attributes:
      model: ready to be asked.
      state: its weights and slots.
      memory: the replay memory for the next update, `spans` included; empty without replay.
      examples: positions trained on, each epoch's and the replayed ones counted.
      epochs: over all spans.
      seconds: wall time.
      train_loss: mean over the last epoch, what the stability parts add included.
      watched: on the held-out part, of the weights that are kept.
    """

    model: Recommender
    state: ModelState
    memory: ReplayMemory
    examples: int
    epochs: int
    seconds: float
    train_loss: float
    watched: float


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
    memory: ReplayMemory | None = None,
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
      on_epoch: called with span, epoch (from 1) and what is watched, on `held_out`.
      memory: the replay memory that came with `base`; None starts an empty one.

    Raises:
      TrainingError: an event's weight or a loss is not finite.
      StateError: `base` does not fit the model.
      MemoryFileError: `memory` does not fit the tables.
    """
    started = time.perf_counter()
    _check_finite(spans)
    memory = _memory(memory, policy.stability, sizes)
    _seed(policy.seed + (spans[-1].number if spans else 0))
    model = build_model(spec.type, sizes, spec.history_length, spec.params)
    optimizer = make_optimizer(policy.optimizer, policy.learning_rate, policy.clip_norm, policy.initial_accumulator)
    trainable = Trainable(model, optimizer)
    initial_slots = trainable.read()[1] if policy.schedule.slots != "carry" else {}
    if base is not None:
        # An id that is new to the base model may have come in any of the spans that it owes.
        sequences = concatenate([span.sequences for span in spans])
        warm_start(trainable, base, sizes, policy.new_rows, sequences)
    model.set_popularity(popularity)

    examples, epochs, train_loss, best = 0, 0, float("nan"), float("nan")
    learners: dict[tuple[type, ...], Learner] = {}
    for span in spans:
        if base is not None and not len(held_out):
            model.calibrate(span.sequences.positions())
        model.observe(span.sequences)
        # As if the span were trained on its own day: to catch up changes nothing.
        seed = policy.seed + span.number
        _seed(seed)
        feed = feed_of(model, span.sequences, policy.batch_size, spec.history_length, seed)
        if not feed.examples:
            continue
        if trainable.iterations:
            enter_span(trainable, initial_slots, policy.schedule)
        parts = _parts(policy, trainable, base, memory.before(span.number), spec.history_length, seed)
        data = feed.data.map(lambda batch: {NEW: batch})
        for part in parts:
            data = part.mix(data)
        watched = Watched(model, held_out, policy.watch, spec.history_length)
        keeper = KeepBest(trainable, watched, policy.epochs, policy.patience, span.number, on_step, on_epoch)
        rate = WithinSpan(policy.schedule, policy.learning_rate, feed.steps * policy.epochs)
        # A graph is traced for each set of parts, not for each span: parts of a kind have one loss.
        kinds = tuple(type(part) for part in parts)
        if kinds not in learners:
            learners[kinds] = Learner(model, parts)
            learners[kinds].compile(optimizer=trainable.optimizer)
        learner = learners[kinds]
        learner.fit(data, epochs=policy.epochs, callbacks=[rate, keeper], verbose=0)
        keeper.restore()
        examples += keeper.epochs * (feed.examples + feed.steps * sum(part.examples_per_step for part in parts))
        epochs += keeper.epochs
        train_loss, best = keeper.train_loss, keeper.best
        memory = memory.add(span.number, span.sequences, policy.seed)
    model.calibrate(held_out)
    learned = (*(base.learned if base is not None else ()), *(span.number for span in spans))
    state = trainable.state(sizes, learned)
    return Update(model, state, memory, examples, epochs, time.perf_counter() - started, train_loss, best)


def rebuild(spec: ModelSpec, state: ModelState) -> Recommender:
    """The model that `state` was taken from.

    Raises:
      StateError: `state` is of another model.
    """
    model = build_model(spec.type, state.sizes, spec.history_length, spec.params)
    variables = named_variables(model)
    if {path: tuple(one.shape) for path, one in variables.items()} != {
        path: one.shape for path, one in state.weights.items()
    }:
        raise StateError(
            f"A state must be of the model that it is loaded into. Received: {sorted(state.weights)} for "
            f"{sorted(variables)}. Do a full retrain."
        )
    for path, variable in variables.items():
        variable.assign(state.weights[path])
    return model


def _seed(seed: int) -> None:
    # Not Keras's own function: that of Keras 2.16 draws in a way that Python deprecates.
    random.seed(seed)
    np.random.seed(seed % 2**32)
    tf.random.set_seed(seed)


def _check_finite(spans: Sequence[Span]) -> None:
    for span in spans:
        wrong = span.sequences.weights[~np.isfinite(span.sequences.weights)]
        if len(wrong):
            raise TrainingError(
                f"Every event's weight must be a finite number. Received: {len(wrong)} that are not, the first "
                f"{wrong[0]}, in span {span.number}. Nothing was trained; correct the span's weights."
            )


def _memory(memory: ReplayMemory | None, stability: Stability, sizes: TableSizes) -> ReplayMemory:
    budget = stability.replay.budget
    if memory is None:
        return ReplayMemory.empty(budget)
    held = memory.sequences
    if held.items.max(initial=0) >= sizes.items or held.key.max(initial=0) >= sizes.keys:
        raise MemoryFileError(
            f"A replay memory must be of this pipeline's vocabulary. Received: rows up to {held.items.max(initial=0)} "
            f"of items and {held.key.max(initial=0)} of keys for tables of {sizes.items} and {sizes.keys}. Start "
            "without the memory."
        )
    return memory.resized(budget)


def _parts(
    policy: Policy,
    trainable: Trainable,
    base: ModelState | None,
    remembered: Sequences,
    history_length: int,
    seed: int,
) -> list[Part]:
    """The stability parts that have something to hold on to: there may be no past yet."""
    parts: list[Part] = []
    replay, proximal = policy.stability.replay, policy.stability.proximal
    if replay.budget and remembered.new_events:
        count = len(remembered.positions())
        size = max(1, min(count, round(replay.fraction * policy.batch_size)))
        old = feed_of(trainable.model, remembered, size, history_length, seed)
        if old.examples:
            parts.append(Replay(old.data, size, replay.weight))
    if proximal.strength and base is not None:
        parts.append(Proximal(trainable.model, trainable.variables, base.weights, proximal.strength))
    return parts
