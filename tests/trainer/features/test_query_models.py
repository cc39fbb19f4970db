"""Models that learn from features of key and context: q = q(key, history) + g(features)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from trainer.features import query_values
from trainer.features.declaration import FIRST_ROW, MISSING, UNKNOWN, Feature
from trainer.features.number_statistics import NumberStatistics
from trainer.input_pipeline import Sequences, concatenate
from trainer.keras2 import tf
from trainer.models.base import TableSizes
from trainer.settings import ModelSpec, Policy
from trainer.stability.replay_memory import ReplayMemory
from trainer.train_state import ModelState, StateError, named_variables
from trainer.update import Span, Update, rebuild, update

FEATURES = (
    Feature(name="device", kind="category"),
    Feature(name="tags", kind="categories", max_values=2),
    Feature(name="hour", kind="number"),
)
MODELS: dict[str, dict[str, Any]] = {
    "two_tower": {"dimension": 8, "negatives": 16, "key_embedding": False},
    "sasrec": {"dimension": 8, "dropout": 0.0, "item_dropout": 0.0, "reverse": True},
    "sasrec projected": {"dimension": 8, "dropout": 0.0, "item_dropout": 0.0, "head": "projected"},
}
POLICY = Policy(epochs=8, batch_size=16, learning_rate=0.1, initial_accumulator=0.1)
SIZES = TableSizes(18, 4, 2, (("feature_device", FIRST_ROW + 2), ("feature_tags", FIRST_ROW + 1)))
KNOTS = {"hour": NumberStatistics.empty().add(np.arange(24.0)).knots()}
TV, PHONE = FIRST_ROW, FIRST_ROW + 1


def events(seed: int = 1, count: int = 80) -> Sequences:
    """Who is at the television sees the first eight items, on the telephone the others; each device has its hours."""
    random = np.random.default_rng(seed)
    tv = random.random(5 * count) < 0.5
    features = {
        "feature_device": np.where(tv, TV, PHONE)[:, None],
        "feature_tags": np.tile(np.array([[FIRST_ROW, 0]]), (5 * count, 1)),
        "feature_hour": (random.integers(0, 12, 5 * count) + np.where(tv, 12, 0)).astype(np.float32),
    }
    items = np.where(tv, random.integers(2, 10, 5 * count), random.integers(10, 18, 5 * count))
    zeros = np.zeros(count, np.int64)
    splits = np.arange(0, 5 * count + 1, 5)
    return Sequences(
        items, np.arange(len(items)), np.ones(len(items), np.float32), splits, zeros + 1, zeros, zeros, features
    )


def spec(name: str, features: tuple[Feature, ...] | None = FEATURES) -> ModelSpec:
    return ModelSpec(name.split()[0], MODELS[name], 6, query_features=features)


def learn(
    name: str,
    sequences: Sequences,
    base: ModelState | None = None,
    features: tuple[Feature, ...] | None = FEATURES,
    sizes: TableSizes = SIZES,
    policy: Policy = POLICY,
    memory: ReplayMemory | None = None,
    knots: Mapping[str, np.ndarray] = KNOTS,
) -> Update:
    spans, popularity = [Span(1 if base is None else 2, sequences)], np.ones(sizes.items)
    nothing = Sequences.empty().positions()
    return update(spec(name, features), sizes, spans, nothing, popularity, policy, base, memory=memory, knots=knots)


def asked(device: int = MISSING, hour: float = np.nan) -> dict[str, Any]:
    values = {"feature_device": [[device]], "feature_tags": [[MISSING, 0]]}
    rows = {name: tf.constant(of, tf.int64) for name, of in values.items()}
    return query_values.with_values(
        tf.constant([1], tf.int64), {**rows, "feature_hour": tf.constant([hour], tf.float32)}
    )


def liking(model: Any, key: Any) -> float:
    """How much more the first eight items are liked than the others."""
    scores = model.score_all(key, tf.constant([[0, 0, 0, 0, 3, 12]], tf.int64)).numpy()[0]
    return float(scores[2:10].mean() - scores[10:].mean())


@pytest.fixture(
    scope="module",
    params=[*list(MODELS)[:2], pytest.param("sasrec projected", marks=[pytest.mark.slow, pytest.mark.exhaustive])],
)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def first(name) -> Update:
    return learn(name, events())


def test_what_is_known_at_the_event_shifts_which_items_are_liked(first):
    assert liking(first.model, asked(TV)) > liking(first.model, asked()) > liking(first.model, asked(PHONE))
    assert liking(first.model, asked(hour=20)) > liking(first.model, asked(hour=8))
    assert liking(first.model, asked(hour=23)) > liking(first.model, asked(hour=1))


def test_without_values_the_answer_is_that_of_missing(first):
    assert liking(first.model, tf.constant([1], tf.int64)) == pytest.approx(liking(first.model, asked()), abs=1e-6)
    part = {"row": tf.constant([1], tf.int64), "feature_device": tf.constant([[TV]], tf.int64)}
    assert liking(first.model, part) == pytest.approx(liking(first.model, asked(TV)), abs=1e-6)


def test_a_word_that_came_later_is_unknown_and_not_missing(first):
    vectors = first.model.query_features.of["device"].vectors
    vectors.assign(tf.tensor_scatter_nd_update(vectors, [[UNKNOWN]], [tf.ones(8)]))
    unknown = liking(first.model, asked(UNKNOWN))
    assert liking(first.model, asked(99)) == unknown != liking(first.model, asked())
    vectors.assign(first.state.weights["query_features/of/device/vectors"])


def test_a_model_is_what_is_in_its_variables(name, first):
    again = rebuild(spec(name), first.state)
    assert liking(again, asked(TV, 8)) == liking(first.model, asked(TV, 8))
    again.freeze()
    assert liking(again, asked(TV, 8)) == pytest.approx(liking(first.model, asked(TV, 8)), abs=1e-4)


def test_words_grow_with_their_slots_and_nothing_else_moves(name, first, tmp_path):
    first.state.save(tmp_path)
    base = ModelState.load(tmp_path)
    sizes = dataclasses.replace(SIZES, words=(("feature_device", FIRST_ROW + 3), SIZES.words[1]))
    grown = learn(name, Sequences.empty(), base, sizes=sizes, knots={"hour": KNOTS["hour"] + 1})
    path = "query_features/of/device/vectors"
    assert (grown.state.weights[path][:5] == base.weights[path]).all()
    assert (grown.state.weights[path][5] == 0).all()
    for slot, values in base.slots[path].items():
        assert (grown.state.slots[path][slot][:5] == values).all()
    assert (grown.state.weights["query_features/of/hour/knots"] == KNOTS["hour"]).all()
    assert liking(grown.model, asked(TV, 8)) == liking(first.model, asked(TV, 8))


def test_a_feature_that_is_declared_later_adds_nothing_and_one_that_is_gone_is_refused(name, first):
    plain = learn(name, events(), features=None, sizes=dataclasses.replace(SIZES, words=()))
    assert not any(path.startswith("query_features") for path in plain.state.weights)
    more = learn(name, Sequences.empty(), plain.state)
    assert liking(more.model, asked(TV, 8)) == liking(plain.model, asked())
    assert set(named_variables(rebuild(spec(name), plain.state))) == set(plain.state.weights)
    with pytest.raises(StateError, match=r"gone. The model's settings changed: do a full retrain"):
        learn(name, events(), first.state, FEATURES[:1])


def test_the_loss_of_an_event_depends_on_what_was_known_at_it(first):
    positions = events(seed=2).positions()
    known = positions.query_features
    other = {"feature_device": TV + PHONE - known["feature_device"], "feature_hour": 23 - known["feature_hour"]}
    wrong = dataclasses.replace(positions, query_features={**known, **other})
    losses = [first.model.compute_loss(next(iter(of.dataset(512, 6)))).numpy() for of in (positions, wrong)]
    assert losses[0] < losses[1] - 0.1


@pytest.mark.slow
@pytest.mark.exhaustive
def test_what_keeps_the_old_days_takes_the_tower_too(name, first, tmp_path):
    stability = {
        "proximal": {"strength": 0.1}, "ewc": {"strength": 0.1}, "averaging": {"share": 0.5},
        "distillation": {"weight": 0.5, "batches": "both"},
        "replay": {"budget": 20, "selection": "herding" if name.startswith("sasrec") else "reservoir"},
    }  # fmt: skip
    policy = Policy(epochs=1, batch_size=16, stability=stability)
    before = learn(name, events(), policy=policy)
    before.memory.save(tmp_path / "memory.npz")
    memory = ReplayMemory.load(tmp_path / "memory.npz")
    assert len(memory) == 20
    for of, kept in memory.sequences.query_features.items():
        assert (kept == before.memory.sequences.query_features[of]).all()
    sizes = dataclasses.replace(SIZES, words=(("feature_device", FIRST_ROW + 3), SIZES.words[1]))
    after = learn(name, events(seed=3), before.state, sizes=sizes, policy=policy, memory=memory)
    assert after.state.weights["query_features/of/device/vectors"].shape == (6, 8)
    assert np.isfinite(after.train_loss)


def test_spans_that_are_owed_may_be_from_before_the_feature_or_have_it_as_another_kind(name):
    plain = dataclasses.replace(events(count=20), query_features={})
    others = events(seed=4, count=20)
    other_kind = {"feature_device": np.ones(100, np.float32), "feature_hour": np.full((100, 1), FIRST_ROW)}
    others = dataclasses.replace(others, query_features=other_kind)
    spans = [Span(1, plain), Span(2, others), Span(3, events(seed=5))]
    policy = Policy(epochs=2, batch_size=16, learning_rate=0.1, stability={"replay": {"budget": 30}})
    learned = update(spec(name), SIZES, spans, Sequences.empty().positions(), np.ones(SIZES.items), policy, knots=KNOTS)
    assert liking(learned.model, asked(TV)) > liking(learned.model, asked(PHONE))
    kept = learned.memory.sequences.query_features
    assert {of: values.dtype for of, values in kept.items()} == {
        "feature_device": np.int64, "feature_tags": np.int64, "feature_hour": np.float32,
    }  # fmt: skip


def test_lots_with_other_features_go_together_and_what_is_not_said_is_missing():
    some, other = events(count=2), dataclasses.replace(events(count=1), query_features={})
    wider = dataclasses.replace(other, query_features={"feature_device": np.full((5, 3), TV)})
    joined = concatenate([some, other, wider]).query_features
    assert joined["feature_device"].tolist()[9:12] == [
        [*some.query_features["feature_device"][9], 0, 0],
        *[[MISSING, 0, 0]] * 2,
    ]
    assert joined["feature_device"].tolist()[-1] == [TV] * 3
    assert np.isnan(joined["feature_hour"][10:]).all()
    assert joined["feature_hour"].dtype == np.float32
