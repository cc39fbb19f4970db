"""One span's update: previous state + spans + policy -> next state.

The heart: the pipeline's trainer and the backtest both call `update`, so that what is measured is what runs.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import logging
import random
import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainer.accelerated_learner import OverflowCount, make_learner, scaled
from trainer.distribution import ALONE, Distribution
from trainer.early_stopping import EarlyStopping, MonitoredMetric, OnEpoch, OnStep, TrainingError
from trainer.features.item_features import ItemFeatures
from trainer.input_pipeline import Positions, Sequences, concatenate
from trainer.keras2 import keras, tf
from trainer.learning_rate import WithinSpan, enter_span, on_plateau
from trainer.learning_rate_probe import choose_rate
from trainer.models import build_model, find_model
from trainer.models.base import Recommender, TableSizes
from trainer.models.feature_tower import LAUNCHES, declared_in, settle
from trainer.models.query_tower import asked_in
from trainer.precision import built_in
from trainer.renumbering import renumbered
from trainer.resumption import FinishedSpans, KeepEpochs, Progress
from trainer.settings import ModelSpec, Policy
from trainer.stability.averaging import average
from trainer.stability.base import Learner, LossTerm
from trainer.stability.builder import StabilityBuilder
from trainer.stability.freezing import frozen
from trainer.stability.replay_memory import ReplayMemory
from trainer.stability.shrink_perturb import shrink_perturb
from trainer.teaching.losses import Teaching, make_teaching
from trainer.train_state import Arrays, ModelState, StateError, Trainable, named_variables
from trainer.trainable import make_trainable
from trainer.training_batches import TrainingBatches, make_training_batches, mixed
from trainer.training_progress import TrainingProgress
from trainer.warm_start import warm_start, without_replaced

if TYPE_CHECKING:
    from trainer.teaching.teacher import Teacher

_log = logging.getLogger(__name__)
_COUNTERS = ("examples", "epochs", "train_loss", "watched", "notes")  # of a `SpanTrainer`


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
      notes: what was decided on the way and why, a sentence each.
    """

    model: Recommender
    state: ModelState
    memory: ReplayMemory
    examples: int
    epochs: int
    seconds: float
    train_loss: float
    watched: float
    notes: tuple[str, ...] = ()


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
    features: ItemFeatures | None = None,
    knots: Mapping[str, np.ndarray] | None = None,
    teacher: Teacher | None = None,
    distribution: Distribution = ALONE,
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
      features: what is known of items, where `spec` has a catalogue's.
      knots: of numbers of key and context, see `Recommender.set_knots`.
      teacher: a model of any shape, which the model is held to on each span by `policy.teacher`; None for nobody.
      distribution: where the training steps are computed.

    Raises:
      TrainingError: an event's weight or a loss is not finite.
      PolicyError: a part of the policy does not fit the model.
      StateError: `base` does not fit the model.
      MemoryFileError: `memory` does not fit the tables.
    """
    started = time.perf_counter()
    _check_finite(spans)
    distribution.check_shares(find_model(spec.type))
    _seed(policy.seed + (spans[-1].number if spans else 0))
    # What draws random numbers keeps its turn here: the results depend on it.
    revision = None if base is None else _revision(spec, base)
    with built_in(policy.precision), distribution.scope():
        model = build_model(
            spec.type, sizes, spec.history_length, spec.params, spec.features, spec.query_features, revision
        )
        trainable = make_trainable(model, policy)
    notes: tuple[str, ...] = ()
    whole = base = None if base is None else renumbered(base, sizes.numbering, model)
    if base is not None:
        base, notes = without_replaced(base, sizes)
    frozen_variables = frozen(trainable.variables, policy.stability.partial.freeze)
    initial_slots = trainable.read()[1] if policy.schedule.slots != "carry" else {}
    if base is not None:
        # An id that is new to the base model may have come in any of the spans that it owes.
        sequences = concatenate([span.sequences for span in spans])
        warm_start(trainable, base, sizes, policy.new_rows, sequences, None if features is None else features.learned)
    model.set_popularity(popularity)
    if features is not None:
        model.set_features(features)
        if features.launches is not None:
            model.learn_launches(features.launches, [(span.number, _events(span, sizes)) for span in spans])
    if knots is not None:
        model.set_knots(knots)
    before = rebuild(spec, whole) if whole is not None and policy.stability.distillation.weight else None
    weighted = model.weight_role(spec.params) == "loss"
    builder = StabilityBuilder(
        policy.stability, trainable, base, before, policy.batch_size, spec.history_length, weighted, policy.jit_compile
    )
    teaching = make_teaching(teacher, policy.teacher, weighted) if teacher and policy.teacher else None
    memory = (memory or ReplayMemory.empty(0)).fitted(sizes, policy.stability.replay.budget, builder.selection)
    span_trainer = SpanTrainer(
        model, trainable, policy, weighted, held_out, base, builder, memory, initial_slots, frozen_variables, on_step,
        on_epoch, teaching, distribution,
    )  # fmt: skip
    span_trainer.learn_all(spans)
    model.calibrate(held_out)
    settle(model)
    learned = (*(base.learned if base is not None else ()), *(span.number for span in spans))
    state = trainable.state(sizes, learned, builder.fisher)
    return Update(
        # Who is asked from here on is asked in float32, as the served bundle is.
        model=model if policy.precision == "float32" and distribution.is_alone else rebuild(spec, state),
        state=state,
        memory=span_trainer.memory,
        examples=span_trainer.examples,
        epochs=span_trainer.epochs,
        seconds=time.perf_counter() - started,
        train_loss=span_trainer.train_loss,
        watched=span_trainer.watched,
        notes=(*notes, *span_trainer.notes),
    )


@dataclasses.dataclass
class SpanTrainer:
    """Learns spans one after the other with one model and one optimizer, and keeps count.

    Attributes:
      model: learns; `trainable` are its variables and its optimizer. Both begin as they were in `base`.
      weighted: whether its events count by their weights.
      builder: of what keeps the old days.
      memory: grows with each span.
      initial_slots: the optimizer's, as a cold start has them; empty where they are carried.
      frozen_variables: get no gradient.
      teaching: what a teacher of another shape adds to the loss; None without one.
      distribution: where the steps are computed.
      examples, epochs, train_loss, watched, notes: see `Update`.
    """

    model: Recommender
    trainable: Trainable
    policy: Policy
    weighted: bool
    held_out: Positions
    base: ModelState | None
    builder: StabilityBuilder
    memory: ReplayMemory
    initial_slots: dict[str, Arrays]
    frozen_variables: list[tf.Variable]
    on_step: OnStep | None
    on_epoch: OnEpoch | None
    teaching: Teaching | None = None
    distribution: Distribution = ALONE
    examples: int = 0
    epochs: int = 0
    train_loss: float = float("nan")
    watched: float = float("nan")
    notes: list[str] = dataclasses.field(default_factory=list)
    _learners: dict[tuple[type, ...], Learner] = dataclasses.field(default_factory=dict)
    _progress: Progress | None = None

    def learn_all(self, spans: Sequence[Span]) -> None:
        """Learns `spans`, but those that the training had finished when it was broken off."""
        numbers, progress = [span.number for span in spans], self.distribution.progress
        done = self._go_on(progress.of(numbers)) if numbers and progress is not None else 0
        for count, span in enumerate(spans[done:], start=done + 1):
            self.learn(span)
            if self._progress is not None:
                state = self.trainable.state(self.model.sizes, (), self.builder.fisher)
                counters = {name: getattr(self, name) for name in _COUNTERS}
                self._progress.finish(FinishedSpans(tuple(numbers[:count]), state, self.memory, counters))

    def learn(self, span: Span) -> None:
        """Learns `span` as if it were trained on its own day: to catch up changes nothing."""
        policy, trainable, base = self.policy, self.trainable, self.base
        if base is not None and not len(self.held_out):
            self.model.calibrate(span.sequences.positions())
        self.model.observe(span.sequences)
        seed = policy.seed + span.number
        _seed(seed)
        batches, loss_terms = self._material(span)
        if not batches.examples:
            return
        share = policy.stability.averaging.share
        before = trainable.read()[0] if base is not None and share < 1 else {}
        most = policy.epochs
        if trainable.iterations:
            enter_span(trainable, self.initial_slots, policy.schedule)
            shrink_perturb(trainable, policy.stability.shrink, seed)
        elif policy.cold_epochs is not None:
            most = policy.cold_epochs
        length, agreed = self.model.history_length, self.distribution.agreed
        monitored = MonitoredMetric(self.model, self.held_out, policy.watch, length, self.weighted, agreed=agreed)
        early_stopping = EarlyStopping(
            trainable, monitored, most, policy.patience, span.number, self.on_step, self.on_epoch
        )
        reduce_rate = on_plateau(policy.schedule, policy.watch) if monitored.positions else None
        learner, each = self._learner(loss_terms), sum(loss_term.examples_per_step for loss_term in loss_terms)
        peak = self._peak_rate(span, learner, monitored, policy.batch_size + each, batches.steps)
        begun, keeping = 0, None
        if self._progress is not None:
            keeping = KeepEpochs(self._progress, trainable, span.number, most, early_stopping, reduce_rate)
            begun = keeping.go_on(self.distribution.check_agreed)
        within, overflows = WithinSpan(policy.schedule, peak, batches.steps, most, begun), OverflowCount()
        shown = TrainingProgress(span.number, batches.steps, most)
        callbacks = [of for of in (within, early_stopping, reduce_rate, overflows, shown, keeping) if of is not None]
        self.distribution.fit(learner, mixed(batches, loss_terms), batches.steps, most, callbacks, begun)
        if overflows.overflowed:
            self.notes.append(f"Span {span.number}: {overflows}")
        early_stopping.restore()
        self.examples += early_stopping.epochs * (batches.examples + batches.steps * each)
        self.epochs += early_stopping.epochs
        self.train_loss, self.watched = early_stopping.train_loss, early_stopping.best
        if base is not None and before:
            average(trainable, before, base.sizes, share)
            self.watched = monitored.value()
        self.memory = self.memory.add(span.number, span.sequences, policy.seed, self.builder.selection)
        self.builder.learned(span.sequences, seed)

    def _go_on(self, progress: Progress) -> int:
        self._progress, finished = progress, progress.finished
        self.distribution.check_agreed(0 if finished is None else len(finished.spans), "number of learned spans")
        if finished is None:
            return 0
        self.trainable.write(finished.state.weights, finished.state.slots)
        self.trainable.optimizer.iterations.assign(finished.state.iterations)
        self.builder.fisher, self.memory = finished.state.fisher, finished.memory
        vars(self).update(finished.counters)
        return len(finished.spans)

    def _material(self, span: Span) -> tuple[TrainingBatches, list[LossTerm]]:
        seed, model = self.policy.seed + span.number, self.model
        policy, length = self.policy, model.history_length
        batches = make_training_batches(
            model, span.sequences, policy.batch_size, length, seed, policy.augmentation, policy.jit_compile
        )
        loss_terms = self.builder.loss_terms(span.sequences, batches, self.memory.before(span.number), seed)
        return batches, [*loss_terms, *([self.teaching] if self.teaching else [])]

    def _learner(self, loss_terms: Sequence[LossTerm]) -> Learner:
        # A graph is traced for each set of parts, not for each span: parts of a kind have one loss.
        kinds = tuple(type(loss_term) for loss_term in loss_terms)
        if kinds not in self._learners:
            how = (self.policy, self.model, loss_terms, self.frozen_variables, not self.distribution.is_alone)
            with self.distribution.scope():
                self._learners[kinds] = make_learner(*how)
                self._learners[kinds].compile(optimizer=self._optimizer)
        return self._learners[kinds]

    @functools.cached_property
    def _optimizer(self) -> keras.optimizers.Optimizer:
        return scaled(self.trainable.optimizer, self.policy.precision)  # one for all spans

    def _peak_rate(
        self, span: Span, learner: Learner, monitored: MonitoredMetric, examples_per_step: int, steps: int
    ) -> float:
        schedule = self.policy.schedule
        if not schedule.rates:
            return self.policy.learning_rate
        chosen = choose_rate(
            learner,
            self.trainable,
            monitored,
            lambda: mixed(*self._material(span)),
            schedule.rates,
            schedule.probe_steps,
            lambda learner, data: self.distribution.fit(learner, data, min(schedule.probe_steps, steps), epochs=1),
        )
        self.notes.append(f"Span {span.number}: {chosen.reason}")
        _log.info(self.notes[-1])
        self.examples += chosen.steps * examples_per_step
        _seed(self.policy.seed + span.number)
        return chosen.rate


def rebuild(spec: ModelSpec, state: ModelState) -> Recommender:
    """The model that `state` was taken from.

    Raises:
      StateError: `state` is of another model.
    """
    # A feature that was declared after the state was saved is none of it.
    features = None if spec.features is None else declared_in(state, spec.features)
    asking = asked_in(state.weights, spec.query_features or ())
    params = spec.params
    if features and not any(f"/{LAUNCHES}" in f"/{path}" for path in state.weights):
        params = {**params, **({"launch_prior": False} if "launch_prior" in _arguments(spec) else {})}
    model = build_model(spec.type, state.sizes, spec.history_length, params, features, asking, _revision(spec, state))
    variables = named_variables(model)
    if {path: tuple(variable.shape) for path, variable in variables.items()} != {
        path: array.shape for path, array in state.weights.items()
    }:
        raise StateError(
            f"A state must be of the model that it is loaded into. Received: {sorted(state.weights)} for "
            f"{sorted(variables)}. Do a full retrain."
        )
    for path, variable in variables.items():
        variable.assign(state.weights[path])
    return model


def _revision(spec: ModelSpec, state: ModelState) -> int:
    known = find_model(spec.type).revisions
    if state.revision not in known:
        raise StateError(
            f"A saved model must be of a form that `{spec.type}` has: revision {', '.join(map(str, known))}. Received: "
            f"revision {state.revision}, of another model or of a later version. Do a full retrain."
        )
    return state.revision


def _arguments(spec: ModelSpec) -> Collection[str]:
    # Of the class itself they would be those of Keras's `__new__`, where `__init__` is inherited.
    return inspect.signature(find_model(spec.type).__init__).parameters


def _events(span: Span, sizes: TableSizes) -> np.ndarray:
    """How many new events each item row has in `span`, int64 [sizes.items]."""
    return np.bincount(span.sequences.positions().target, minlength=sizes.items)[: sizes.items]


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
