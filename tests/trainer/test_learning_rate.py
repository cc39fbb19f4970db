"""The learning rate within a span, and the accumulators across spans."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.small_model import HISTORY, SMALL, Small
from trainer.checks.small_data import held_out, random_sequences
from trainer.early_stopping import EarlyStopping, MonitoredMetric
from trainer.keras2 import keras, tf
from trainer.learning_rate import WithinSpan, enter_span, on_plateau
from trainer.models.base import TableSizes
from trainer.optimizers import STEPS, LazyAdam
from trainer.settings import ModelSpec, Policy, Schedule
from trainer.stability.base import NEW, Learner
from trainer.train_state import ModelState, Trainable
from trainer.training_batches import make_training_batches
from trainer.update import Span, Update, update

SIZES = TableSizes(30, 20, 2)
SPEC = ModelSpec(SMALL, {}, HISTORY)


def test_cosine_goes_up_in_a_line_and_down_to_its_end():
    rates = [Schedule("cosine", warm_up=0.2, final=0.1).rate(step, 20) for step in range(21)]
    assert rates[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert rates[12] == pytest.approx(0.55), "half way down"
    assert rates[20] == pytest.approx(0.1)
    assert all(before >= other for before, other in itertools.pairwise(rates[4:]))


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 50), st.data())
def test_no_step_has_a_rate_above_the_peak_or_below_nothing(warm_up, final, steps, data):
    step = data.draw(st.integers(0, steps - 1))
    assert 0 <= Schedule("cosine", warm_up, final).rate(step, steps) <= 1
    assert Schedule("constant", warm_up, final).rate(step, steps) == 1


def test_each_step_is_made_at_its_own_rate():
    class Noting(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            rates.append(float(self.model.optimizer.learning_rate))

    rates: list[float] = []
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.5), "mse")
    data = tf.data.Dataset.from_tensors((tf.ones([2, 1]), tf.ones([2, 1]))).repeat(4)
    schedule = Schedule("cosine", warm_up=0.25)
    model.fit(data, epochs=2, verbose=0, callbacks=[WithinSpan(schedule, 0.5, 4, 2, 0), Noting()])
    assert rates == pytest.approx([0.5 * schedule.rate(step, 8) for step in range(8)])


@pytest.mark.parametrize(
    ("watch", "values", "patience", "shares"),
    [
        ("loss", [3.0, 2.0, 2.0, 1.5, 1.6, 1.7], 1, [1, 1, 1, 0.5, 0.5, 0.25]),
        ("loss", [3.0, 2.0, 2.0, 2.5, 1.0, 1.5], 2, [1, 1, 1, 1, 0.5, 0.5]),
        ("recall", [0.1, 0.3, 0.2, 0.4, 0.4, 0.4], 1, [1, 1, 1, 0.5, 0.5, 0.25]),
    ],
)
def test_on_a_plateau_of_what_is_watched_the_rate_goes_down(monkeypatch, watch, values, patience, shares):
    class Noting(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            rates.append(float(self.model.optimizer.learning_rate))

    rates: list[float] = []
    given = iter(values)
    monkeypatch.setattr("trainer.early_stopping.MonitoredMetric.value", lambda self: next(given))
    trainable = Trainable(Small(SIZES, HISTORY), keras.optimizers.Adagrad(0.1, jit_compile=False))
    learner = Learner(trainable.model, [])
    learner.compile(trainable.optimizer)
    batches = make_training_batches(trainable.model, random_sequences(SIZES, 9, seed=1), 8, HISTORY, seed=1)
    monitored = MonitoredMetric(trainable.model, held_out(SIZES, 5, seed=2), watch, HISTORY)
    schedule = Schedule("plateau", factor=0.5, patience=patience)
    early_stopping = EarlyStopping(trainable, monitored, 6, 9, 0, None, None)
    callbacks = [WithinSpan(schedule, 0.2, batches.steps, 6, 0), early_stopping, on_plateau(schedule, watch), Noting()]
    learner.fit(batches.data.map(lambda batch: {NEW: batch}), epochs=6, verbose=0, callbacks=callbacks)
    assert rates == pytest.approx([0.2 * share for share in shares])


def test_an_update_minds_its_plateaus():
    def after(factor: float) -> Update:
        schedule = Schedule(within="plateau", factor=factor)
        policy = Policy(epochs=6, batch_size=8, patience=9, learning_rate=0.5, schedule=schedule)
        spans = [Span(1, random_sequences(SIZES, 15, seed=1))]
        return update(SPEC, SIZES, spans, held_out(SIZES, 9, seed=7), np.ones(SIZES.items), policy)

    # The held-out part is of other histories: it gets no better with what is learned by heart.
    assert after(0.01).train_loss != after(0.9).train_loss


def one_span(number: int, policy: Policy, base: ModelState | None = None) -> Update:
    spans = [Span(number, random_sequences(SIZES, 15, seed=number))]
    return update(SPEC, SIZES, spans, held_out(SIZES, 0, seed=0), np.ones(SIZES.items), policy, base=base)


def trained(optimizer: keras.optimizers.Optimizer, steps: int) -> tuple[Trainable, dict]:
    """A model after steps with gradients of 1, and the slots it began with."""
    trainable = Trainable(Small(SIZES, HISTORY), optimizer)
    initial = trainable.read()[1]
    gradients(trainable, steps)
    return trainable, initial


def gradients(trainable: Trainable, steps: int) -> None:
    variables = [variable for variable in trainable.variables.values() if variable.trainable]
    for _ in range(steps):
        trainable.optimizer.apply_gradients([(tf.ones_like(variable), variable) for variable in variables])


@pytest.mark.parametrize(("slots", "left"), [("carry", 1.0), ("decay", 0.25), ("reset", 0.0)])
def test_an_adagrad_sum_is_carried_decayed_or_reset(slots, left):
    trainable, initial = trained(keras.optimizers.Adagrad(0.1, jit_compile=False), steps=4)
    enter_span(trainable, initial, Schedule(slots=slots, keep=0.25))
    for slot in trainable.read()[1]["item/embeddings"].values():
        np.testing.assert_allclose(slot, 0.1 + 4 * left, rtol=1e-6)


@pytest.mark.parametrize("schedule", [Schedule(slots="reset"), Schedule(slots="decay", keep=0.2), Schedule()])
def test_adam_steps_on_at_its_own_length_whatever_was_kept(schedule):
    trainable, initial = trained(LazyAdam(0.01, jit_compile=False), steps=50)
    enter_span(trainable, initial, schedule)
    before = trainable.read()[0]["bias"]
    gradients(trainable, 1)
    # With gradients that stay the same, a step of Adam is as long as the learning rate.
    step = np.abs(trainable.read()[0]["bias"] - before)
    assert step.max() <= 0.0101
    if schedule.slots != "decay":
        np.testing.assert_allclose(step, 0.01, rtol=0.01)


def test_steps_go_on_counting_over_a_reset_and_those_of_a_row_begin_anew():
    policy = Policy(epochs=1, batch_size=8, optimizer="adam", learning_rate=0.01, schedule=Schedule(slots="reset"))
    first = one_span(0, policy)
    second = one_span(1, policy, first.state)
    made = second.state.iterations - first.state.iterations
    assert 0 < made < second.state.iterations
    assert second.state.slots["scale/layer-0/kernel"][STEPS] == pytest.approx(made)


def test_a_first_span_is_the_same_under_every_rule_across_spans():
    plain, reset = (one_span(0, Policy(epochs=1, schedule=Schedule(slots=slots))) for slots in ("carry", "reset"))
    np.testing.assert_equal(plain.state.slots, reset.state.slots)
    np.testing.assert_equal(plain.state.weights, reset.state.weights)


def test_owed_spans_are_entered_one_by_one():
    policy = Policy(epochs=1, schedule=Schedule(slots="reset"))
    first = one_span(0, policy)
    caught_up = update(
        SPEC, SIZES, [Span(1, random_sequences(SIZES, 15, seed=1)), Span(2, random_sequences(SIZES, 15, seed=2))],
        held_out(SIZES, 0, seed=0), np.ones(SIZES.items), policy, base=first.state,
    )  # fmt: skip
    day_by_day = one_span(2, policy, one_span(1, policy, first.state).state)
    for path, value in day_by_day.state.weights.items():
        np.testing.assert_allclose(caught_up.state.weights[path], value, rtol=1e-5, atol=1e-6)
