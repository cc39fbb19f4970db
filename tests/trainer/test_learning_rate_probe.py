"""The learning rate that a span picks: by what each does in a few steps, of which nothing stays."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest

from tests.trainer.plain_optimizer import plain_optimizer
from tests.trainer.small_model import HISTORY, SMALL, Small
from trainer.accelerated_learner import AcceleratedLearner, loss_scale, scaled
from trainer.checks.small_data import held_out, random_sequences, sequences
from trainer.early_stopping import MonitoredMetric
from trainer.input_pipeline import Positions
from trainer.learning_rate_probe import Choice, choose_rate
from trainer.models.base import TableSizes
from trainer.settings import ModelSpec, Policy, ReplaySettings, Schedule, Stability
from trainer.stability.base import NEW, Learner
from trainer.train_state import Trainable
from trainer.training_batches import make_training_batches
from trainer.update import Span, Update, update

SIZES = TableSizes(30, 20, 2)
SPEC = ModelSpec(SMALL, {}, HISTORY)
# The same thing again and again, in the span and after it: the faster it is learned, the better.
SAME = sequences([(key, [5, 6, 7, 5, 6, 7], 0) for key in range(2, 18)])


def probed(rates: tuple[float, ...], watched: Positions) -> tuple[Choice, Trainable, tuple]:
    model = Small(SIZES, HISTORY)
    trainable = Trainable(model, plain_optimizer("adam", 0.5))
    learner = AcceleratedLearner(model, [], [], 1, jit_compile=False)
    learner.compile(scaled(trainable.optimizer, "mixed_float16"))
    scale = loss_scale(learner.optimizer)

    def data():
        return make_training_batches(model, SAME, 8, HISTORY, seed=1).data.map(lambda batch: {NEW: batch})

    learner.fit(data(), verbose=0)
    before = (*trainable.read(), trainable.iterations)
    begun = [variable.numpy() for variable in scale]
    chosen = choose_rate(learner, trainable, MonitoredMetric(model, watched, "loss", HISTORY), data, rates, 5)
    assert [variable.numpy() for variable in scale] == begun
    return chosen, trainable, before


def test_the_rate_that_helps_the_next_hours_most_is_taken_and_nothing_stays():
    chosen, trainable, before = probed((1e-4, 0.05, 1e-3), SAME.positions())
    assert chosen.rate == 0.05
    assert chosen.steps == 15
    assert chosen.reason.startswith("learning rate 0.05, by the held-out loss after 5 steps: ")
    assert chosen.reason.count(" at ") == 3
    np.testing.assert_equal((*trainable.read(), trainable.iterations), before)


@pytest.mark.parametrize(("what", "best"), [("loss", 1.0), ("mrr", 2.0)])
def test_a_loss_is_to_fall_and_a_metric_to_rise(what, best):
    model = Small(SIZES, HISTORY)
    trainable = Trainable(model, plain_optimizer("adam", 0.5))
    learner = Learner(model, [])
    learner.compile(trainable.optimizer)
    monitored = MonitoredMetric(model, SAME.positions(), what, HISTORY)
    values = iter([0.1, 0.4, 0.3])
    monitored.value = lambda: next(values)
    data = make_training_batches(model, SAME, 8, HISTORY, seed=1).data.map(lambda batch: {NEW: batch})
    assert choose_rate(learner, trainable, monitored, lambda: data, (1.0, 2.0, 3.0), 1).rate == best


def test_a_rate_that_leads_nowhere_is_not_taken():
    chosen, trainable, _ = probed((1e30, 0.01), SAME.positions())
    assert chosen.rate == 0.01
    assert all(np.isfinite(value).all() for value in trainable.read()[0].values())


def test_without_a_held_out_part_the_first_is_taken_and_no_step_made():
    chosen, _, _ = probed((0.3, 0.1), SAME.positions().take(np.zeros(0, np.int64)))
    assert (chosen.rate, chosen.steps) == (0.3, 0)
    assert "nothing is held out" in chosen.reason


def one_span(policy: Policy, base: Update | None = None) -> Update:
    number = 0 if base is None else 1
    spans = [Span(number, random_sequences(SIZES, 15, seed=number))]
    given = {} if base is None else {"base": base.state, "memory": base.memory}
    return update(SPEC, SIZES, spans, held_out(SIZES, 9, seed=5), np.ones(SIZES.items), policy, **given)


@pytest.mark.parametrize("stability", [Stability(), Stability(replay=ReplaySettings(budget=9))], ids=["new", "replay"])
def test_a_span_trains_on_at_the_rate_that_it_chose_as_if_it_had_been_set(stability, caplog):
    caplog.set_level(logging.INFO)
    first = one_span(Policy(epochs=1, batch_size=8, stability=stability))
    how = {"epochs": 2, "batch_size": 8, "stability": stability}
    chose = one_span(Policy(**how, schedule=Schedule(rates=(0.02,), probe_steps=3)), first)
    set_to = one_span(Policy(**how, learning_rate=0.02), first)
    assert chose.examples > set_to.examples, "what was tried is counted"
    assert chose.watched == pytest.approx(set_to.watched, rel=1e-5)
    for path, value in set_to.state.weights.items():
        np.testing.assert_allclose(chose.state.weights[path], value, rtol=1e-4, atol=1e-6)
    assert len(chose.notes) == 1
    assert chose.notes[0].startswith("Span 1: learning rate 0.02, by the held-out loss after 3 steps: ")
    assert math.isfinite(float(chose.notes[0].split("steps: ")[1].split(" at")[0]))
    assert chose.notes[0] in caplog.text
    assert set_to.notes == ()
