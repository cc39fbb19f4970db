"""What each stability part does to an update: two spans, the second of other items than the first."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.trainer.small_model import HISTORY, SMALL
from trainer.checks.small_data import held_out, sequences
from trainer.early_stopping import held_out_loss
from trainer.keras2 import tf
from trainer.models.base import TableSizes
from trainer.settings import (
    AveragingSettings,
    DistillationSettings,
    EwcSettings,
    ModelSpec,
    PartialSettings,
    Policy,
    ReplaySettings,
    ShrinkSettings,
    Stability,
)
from trainer.stability.base import PolicyError
from trainer.stability.distillation import Distillation
from trainer.stability.ewc import averaged
from trainer.training_batches import make_training_batches
from trainer.update import Span, Update, update

SIZES = TableSizes(30, 20, 2)
SMALL_SPEC = ModelSpec(SMALL, {}, HISTORY)
SEQUENCES = ModelSpec("sasrec", {"dimension": 8, "neighbours": 0, "dropout": 0.0, "item_dropout": 0.0}, HISTORY)
PLAIN = Policy(epochs=3, batch_size=8, learning_rate=0.3, initial_accumulator=0.1)


def halves() -> list[Span]:
    random = np.random.default_rng(3)
    rows = [
        [(int(random.integers(2, 20)), random.integers(low, low + 14, 5).tolist(), 0) for _ in range(40)]
        for low in (2, 16)
    ]
    return [Span(number, sequences(half)) for number, half in enumerate(rows)]


SPANS = halves()


def train(number: int, before: Update | None = None, spec: ModelSpec = SMALL_SPEC, **how: object) -> Update:
    given = {} if before is None else {"base": before.state, "memory": before.memory}
    nothing = held_out(SIZES, 0, seed=0)
    policy = dataclasses.replace(PLAIN, **how)
    return update(spec, SIZES, [SPANS[number]], nothing, np.ones(SIZES.items), policy, **given)


@pytest.fixture(scope="module")
def first() -> Update:
    """The first span, with a memory of it."""
    return train(0, stability=Stability(replay=ReplaySettings(40)))


@pytest.fixture(scope="module")
def plain(first: Update) -> Update:
    return train(1, first)


def forgotten(result: Update) -> float:
    return held_out_loss(result.model, SPANS[0].sequences.positions(), HISTORY)


MEMORY = ReplaySettings(40, fraction=1.0, weight=0.0)


@pytest.mark.parametrize(
    "stability",
    [
        Stability(distillation=DistillationSettings(weight=3.0, batches="new")),
        Stability(replay=MEMORY, distillation=DistillationSettings(weight=3.0, batches="replayed", adaptive=True)),
        Stability(ewc=EwcSettings(strength=500.0, sample=200)),
        Stability(replay=MEMORY, ewc=EwcSettings(strength=500.0, sample=200)),
        Stability(averaging=AveragingSettings(0.3)),
        Stability(partial=PartialSettings(freeze=("item/*", "bias"))),
        Stability(partial=PartialSettings(rates={"*": 0.1})),
    ],
    ids=["distillation", "ader", "elastic", "elastic on the memory", "averaging", "frozen", "slower"],
)
def test_the_first_span_is_forgotten_less(first, plain, stability):
    kept = train(1, first, stability=stability)
    assert forgotten(kept) < forgotten(plain) - 0.05


def elastic(decay: float = 0.9, sample: int = 10_000) -> Stability:
    return Stability(ewc=EwcSettings(strength=500.0, sample=sample, decay=decay))


def test_what_the_days_before_depend_on_is_averaged_over_them_and_held(first):
    begun = train(0, stability=elastic())
    alone = train(1, first, stability=elastic(decay=0.0))
    kept = train(1, begun, stability=elastic(decay=1.0))
    assert {path: of.shape for path, of in begun.state.fisher.items()}.items() <= {
        path: weights.shape for path, weights in begun.state.weights.items()
    }.items()
    np.testing.assert_equal(kept.state.fisher, begun.state.fisher)
    assert not np.allclose(alone.state.fisher["bias"], begun.state.fisher["bias"])

    # An item of the first span alone is held for its sake, also after another span has been learned.
    old = np.setdiff1d(SPANS[0].sequences.items, SPANS[1].sequences.items)
    over_both = train(1, begun, stability=elastic(decay=0.5)).state.fisher["item/embeddings"]
    of_first = begun.state.fisher["item/embeddings"][old]
    np.testing.assert_allclose(over_both[old], 0.5 * of_first, rtol=0.5)
    assert alone.state.fisher["item/embeddings"][old].sum() < 0.1 * of_first.sum()

    # It is what came with the state that holds: with none of it an update is a plain one.
    nothing = {path: np.zeros_like(of) for path, of in begun.state.fisher.items()}
    free = dataclasses.replace(begun, state=dataclasses.replace(begun.state, fisher=nothing))
    plain_update = train(1, begun)
    np.testing.assert_equal(train(1, free, stability=elastic()).state.weights, plain_update.state.weights)
    assert forgotten(train(1, begun, stability=elastic())) < forgotten(plain_update) - 0.05


def test_a_table_that_grew_keeps_what_its_rows_counted():
    before = {"table": np.full((2, 3), 4.0, np.float32), "gone": np.ones(2, np.float32), "scale": np.float32(4.0)}
    new = {"table": np.full((3, 3), 2.0, np.float32), "fresh": np.ones(1, np.float32), "scale": np.float32(2.0)}
    result = averaged(before, new, 0.75)
    np.testing.assert_allclose(result["table"], [[3.5] * 3, [3.5] * 3, [0.5] * 3])
    np.testing.assert_allclose(result["fresh"], [0.25])
    np.testing.assert_allclose(result["scale"], 3.5)
    assert {of.dtype for of in result.values()} == {np.dtype(np.float32)}
    assert set(result) == set(new)
    assert averaged({}, new, 0.75) is new


def test_answers_to_sequences_stay_nearer_to_the_teachers():
    how = {"spec": SEQUENCES, "optimizer": "adam", "learning_rate": 0.01}
    begun = train(0, **how)
    (batch,) = make_training_batches(begun.model, SPANS[0].sequences, 1000, HISTORY, seed=1).data
    items = tf.range(2, SIZES.items, dtype=tf.int64)

    def moved(result: Update) -> float:
        now, then = (model.score_batch(batch, items).numpy() for model in (result.model, begun.model))
        return float(np.abs(now - then).mean())

    held = train(1, begun, stability=Stability(distillation=DistillationSettings(weight=20.0)), **how)
    assert moved(held) < 0.9 * moved(train(1, begun, **how))


@pytest.mark.parametrize(
    "stability",
    [
        Stability(shrink=ShrinkSettings(0.5, 0.1)),
        Stability(averaging=AveragingSettings(0.5)),
        Stability(distillation=DistillationSettings(weight=1.0)),
        Stability(ewc=EwcSettings(strength=10.0)),
    ],
    ids=["shrink", "averaging", "distillation", "elastic"],
)
def test_a_cold_start_has_nothing_to_hold_on_to(stability):
    np.testing.assert_equal(train(0, stability=stability).state.weights, train(0).state.weights)


def test_what_is_frozen_stays_over_the_days_slots_included(first):
    second = train(1, first, stability=Stability(partial=PartialSettings(freeze=("item/*",))))
    np.testing.assert_array_equal(second.state.weights["item/embeddings"], first.state.weights["item/embeddings"])
    np.testing.assert_equal(second.state.slots["item/embeddings"], first.state.slots["item/embeddings"])
    assert (second.state.weights["bias"] != first.state.weights["bias"]).any()


def test_kept_weights_lie_between_yesterdays_and_todays(first, plain):
    kept = train(1, first, stability=Stability(averaging=AveragingSettings(0.25)))
    for path, slots in plain.state.slots.items():
        between = 0.75 * first.state.weights[path] + 0.25 * plain.state.weights[path]
        np.testing.assert_allclose(kept.state.weights[path], between, rtol=1e-4, atol=1e-6)
        np.testing.assert_equal(kept.state.slots[path], slots)


def test_what_is_watched_is_that_of_the_kept_weights(first):
    watched = SPANS[1].sequences.positions()
    policy = dataclasses.replace(PLAIN, stability=Stability(averaging=AveragingSettings(0.25)))
    result = update(SMALL_SPEC, SIZES, [SPANS[1]], watched, np.ones(SIZES.items), policy, base=first.state)
    assert result.watched == pytest.approx(held_out_loss(result.model, watched, HISTORY), rel=1e-5)


def test_the_adaptive_weight_is_that_of_memory_and_span(first, monkeypatch):
    weights: list[float] = []
    made = Distillation.__init__

    def record_slot(self, teacher, batches, weight, *others):
        weights.append(weight)
        made(self, teacher, batches, weight, *others)

    monkeypatch.setattr(Distillation, "__init__", record_slot)
    adaptive = Stability(replay=ReplaySettings(10), distillation=DistillationSettings(weight=0.8, adaptive=True))
    train(1, first, stability=adaptive)
    # Ten sequences of five positions are remembered, forty of five are new, and no item is.
    assert weights == [pytest.approx(0.8 * np.sqrt(50 / 200))]


@pytest.mark.parametrize(
    ("stability", "message"),
    [
        (Stability(partial=PartialSettings(freeze=("nothing*",))), r"freeze` must match.*'nothing\*'"),
        (Stability(partial=PartialSettings(rates={"nothing*": 2.0})), r"rates` must match.*'nothing\*'"),
        (Stability(replay=ReplaySettings(5, selection="herding")), r"needs a model with a method `represent"),
    ],
)
def test_a_policy_that_does_not_fit_the_model_is_refused(stability, message):
    with pytest.raises(PolicyError, match=message):
        train(0, stability=stability)
