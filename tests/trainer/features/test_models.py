"""Models that learn from features of items: v = E[id] + f(features), and the id part zero without events."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from tests.trainer.features.small_catalogue import FEATURES, of_items, popularity_of, sizes_of, table, vocabulary
from trainer.features.feature_state import FeatureState
from trainer.features.item_features import ItemFeatures
from trainer.input_pipeline import Positions, Sequences
from trainer.keras2 import tf
from trainer.models import build_model
from trainer.models.base import Recommender
from trainer.settings import ModelSpec, Policy
from trainer.train_state import ModelState, StateError, named_variables
from trainer.update import Span, Update, rebuild, update
from trainer.vocabulary import Vocabulary

POLICY = Policy(epochs=4, batch_size=16, learning_rate=0.1, initial_accumulator=0.1)
MODELS = {
    "two_tower": {"dimension": 8, "negatives": 16, "key_embedding": False},
    "sasrec": {"dimension": 8, "dropout": 0.0, "item_dropout": 0.0},
}
RED, BLUE = [f"red{n}" for n in range(8)], [f"blue{n}" for n in range(8)]


def shop(new: tuple[str, ...] = ("red-new", "blue-new")) -> dict[str, dict[str, Any]]:
    names = [*RED, *BLUE, *new]
    return {
        name: {"kind": name[:3], "tags": [name[:3], "any"], "price": 1.0 if name.startswith("red") else 9.0}
        for name in names
    }


def events(items: Vocabulary, seed: int = 1, keys: int = 60) -> Sequences:
    """Each key sees items of one colour."""
    random = np.random.default_rng(seed)
    colours = [items.lookup(RED), items.lookup(BLUE)]
    rows = np.concatenate([random.permutation(colours[key % 2])[:5] for key in range(keys)])
    splits = np.arange(0, 5 * keys + 1, 5)
    zeros = np.zeros(keys, np.int64)
    return Sequences(
        rows, np.arange(len(rows)), np.ones(len(rows), np.float32), splits, np.ones(keys, np.int64), zeros, zeros
    )


def nothing() -> Positions:
    return Sequences.empty().positions()


def spec(type_: str, features: tuple[Any, ...] | None = FEATURES) -> ModelSpec:
    return ModelSpec(type_, MODELS[type_], 6, features)


def learn(
    type_: str,
    items: Vocabulary,
    features: ItemFeatures | None,
    base: ModelState | None = None,
    sequences: Sequences | None = None,
    policy: Policy = POLICY,
) -> Update:
    sizes = sizes_of(items, features) if features is not None else dataclasses.replace(_plain(items), words=())
    spans = [Span(1 if base is None else 2, events(items) if sequences is None else sequences)]
    of = spec(type_) if features is not None else spec(type_, None)
    return update(of, sizes, spans, nothing(), popularity_of(items), policy, base, features=features)


def _plain(items: Vocabulary) -> Any:
    return sizes_of(items, of_items(items, table(shop())))


def product_with(model: Recommender, item: str, history: list[str], items: Vocabulary) -> float:
    """Of the item's vector and the mean of the history's."""
    rows = tf.constant(items.lookup([item, *history]))
    vectors = model.item_vectors(rows).numpy()
    return float(vectors[0] @ vectors[1:].mean(axis=0))


@pytest.fixture(scope="module", params=MODELS)
def type_(request):
    return request.param


ITEMS = vocabulary([*RED, *BLUE], ["red-new", "blue-new"])


@pytest.fixture(scope="module")
def first(type_) -> Update:
    return learn(type_, ITEMS, of_items(ITEMS, table(shop())))


def test_an_item_without_events_is_like_those_of_its_kind(first):
    for new, own, other in (("red-new", RED, BLUE), ("blue-new", BLUE, RED)):
        assert product_with(first.model, new, own, ITEMS) > product_with(first.model, new, other, ITEMS)


def test_its_vector_is_what_its_features_say_and_nothing_else(first):
    red, new = ITEMS.lookup(["red0", "red-new"])
    vectors = first.model.item_vectors(tf.constant([red, new])).numpy()
    own = first.state.weights["item_embedding/embeddings"][red]
    assert vectors[0] - own == pytest.approx(vectors[1], abs=1e-6)
    assert np.linalg.norm(vectors[1]) > 0.01
    assert first.model.item_vectors(tf.constant([0, 1])).numpy() == pytest.approx(np.zeros((2, 8)))


def test_no_step_touches_the_id_part_of_an_item_without_events(type_, first):
    fresh = build_model(type_, first.state.sizes, 6, MODELS[type_], FEATURES)
    assert fresh.item_features.of["kind"].vectors.numpy().tolist() == np.zeros((5, 8)).tolist()
    one_more = learn(type_, ITEMS, of_items(ITEMS, table(shop())), first.state, events(ITEMS, seed=2))
    new = ITEMS.lookup(["red-new", "blue-new"])
    path = "item_embedding/embeddings"
    assert (one_more.state.weights[path][new] == first.state.weights[path][new]).all()
    assert (one_more.state.weights[path][2:] != first.state.weights[path][2:]).any()


def test_a_model_is_what_is_in_its_variables(type_, first):
    again = rebuild(spec(type_), first.state)
    key, history = tf.constant([1]), tf.constant([[0, 0, 2, 3, 4, 5]], tf.int64)
    expected = first.model.score_all(key, history).numpy()
    assert again.score_all(key, history).numpy() == pytest.approx(expected, abs=1e-6)
    again.freeze()
    assert again.score_all(key, history).numpy() == pytest.approx(expected, abs=1e-4)
    served = again.dot_product.items
    assert served.vectors(tf.constant([ITEMS.lookup(["red-new"])[0]])).shape == (1, 9)


def test_words_grow_with_their_slots_and_nothing_else_moves(type_, first, tmp_path):
    first.state.save(tmp_path)
    base = ModelState.load(tmp_path)
    assert base.sizes == first.state.sizes
    catalogue = table(shop() | {"green": {"kind": "gre", "price": 99.0}}, span=2)
    before = FeatureState.load(None, FEATURES).grown(table(shop()), FEATURES, 1, -1)
    items = ITEMS.admit(["green"], 2)
    features = of_items(items, catalogue, state=before.grown(catalogue, FEATURES, 2, 1))
    grown = learn(type_, items, features, base, Sequences.empty())
    path = "item_features/of/kind/vectors"
    assert grown.state.weights[path].shape == (6, 8)
    assert (grown.state.weights[path][:5] == base.weights[path]).all()
    assert (grown.state.weights[path][5] == 0).all()
    for name, slot in base.slots[path].items():
        assert (grown.state.slots[path][name][:5] == slot).all()
    # A new day's prices are other quantiles; what the model has learned a curve over stays.
    knots = "item_features/of/price/knots"
    assert (grown.state.weights[knots] == base.weights[knots]).all()
    assert not np.array_equal(features.knots["price"], base.weights[knots])
    row = tf.constant(ITEMS.lookup(["red0"]))
    assert (grown.model.item_vectors(row).numpy() == first.model.item_vectors(row).numpy()).all()


def test_a_model_that_knew_none_goes_on_as_it_was(type_):
    plain = vocabulary([*RED, *BLUE])
    without = learn(type_, plain, None)
    assert not any(path.startswith("item_features") for path in without.state.weights)
    items = plain.admit(["red-new", "blue-new"], 2)
    begun = learn(type_, items, of_items(items, table(shop())), without.state, Sequences.empty())
    rows = tf.constant(plain.lookup([*RED, *BLUE]))
    assert (begun.model.item_vectors(rows).numpy() == without.model.item_vectors(rows).numpy()).all()
    assert (begun.model.item_vectors(tf.constant(items.lookup(["red-new"]))).numpy() == 0).all()
    after = learn(type_, items, of_items(items, table(shop())), begun.state)
    assert product_with(after.model, "red-new", RED, items) > product_with(after.model, "red-new", BLUE, items)


@pytest.mark.parametrize("new_rows", ["cooccurrence", "mean", "random"])
def test_an_items_own_row_starts_when_it_has_events(new_rows, type_, first):
    policy = dataclasses.replace(POLICY, new_rows=new_rows, epochs=1, learning_rate=1e-9)
    items = ITEMS.grow(["red-new"], 2, 1, 7.0)
    row, red = int(items.lookup(["red-new"])[0]), items.lookup(RED)
    met = np.array([red[0], row, red[1]])
    zeros = np.zeros(1, np.int64)
    sequences = Sequences(met, np.arange(3), np.ones(3, np.float32), np.array([0, 3]), zeros + 1, zeros, zeros)
    begun = learn(type_, items, of_items(items, table(shop())), first.state, sequences, policy)
    table_before = first.state.weights["item_embedding/embeddings"]
    expected = {
        "cooccurrence": table_before[red[:2]].mean(axis=0),
        "mean": table_before[items.lookup([*RED, *BLUE])].mean(axis=0),
        "random": table_before[row],
    }[new_rows]
    assert begun.state.weights["item_embedding/embeddings"][row] == pytest.approx(expected, abs=1e-5)
    assert begun.state.weights["item_features/learned"][row] == 1


def test_a_feature_that_is_declared_later_is_added_and_one_that_is_gone_is_refused(type_, first):
    fewer = FEATURES[:1]
    of_one = of_items(ITEMS, table(shop()), fewer)
    small = update(
        spec(type_, fewer), sizes_of(ITEMS, of_one), [Span(1, events(ITEMS))], nothing(), popularity_of(ITEMS), POLICY,
        features=of_one,
    )  # fmt: skip
    more = learn(type_, ITEMS, of_items(ITEMS, table(shop())), small.state, Sequences.empty())
    rows = tf.constant(ITEMS.lookup([*RED, "red-new"]))
    assert (more.model.item_vectors(rows).numpy() == small.model.item_vectors(rows).numpy()).all()
    assert set(named_variables(rebuild(spec(type_), small.state))) == set(small.state.weights)
    with pytest.raises(StateError, match=r"gone. The model's settings changed: do a full retrain"):
        update(
            spec(type_, fewer), sizes_of(ITEMS, of_one), [], nothing(), popularity_of(ITEMS), POLICY,
            first.state, features=of_one,
        )  # fmt: skip


@pytest.mark.slow
@pytest.mark.exhaustive
def test_what_keeps_the_old_days_takes_towers_too(type_, first):
    stability = {
        "proximal": {"strength": 0.1}, "ewc": {"strength": 0.1}, "averaging": {"share": 0.5},
        "distillation": {"weight": 0.5, "batches": "new"}, "replay": {"budget": 20},
    }  # fmt: skip
    policy = Policy(epochs=1, batch_size=16, stability=stability)
    features = of_items(ITEMS, table(shop() | {"green": {"kind": "gre"}}))
    after = learn(type_, ITEMS, features, first.state, events(ITEMS, seed=3), policy)
    assert after.state.weights["item_features/of/kind/vectors"].shape == (6, 8)
    plain = learn(type_, vocabulary([*RED, *BLUE]), None)
    begun = learn(type_, ITEMS, of_items(ITEMS, table(shop())), plain.state, policy=policy)
    assert np.isfinite(begun.train_loss)


def test_with_a_catalogue_and_no_features_what_nobody_has_met_has_no_vector(type_):
    features = of_items(ITEMS, table(shop()), ())
    sizes = sizes_of(ITEMS, features)
    learned = update(
        spec(type_, ()), sizes, [Span(1, events(ITEMS))], nothing(), popularity_of(ITEMS), POLICY, features=features
    )
    vectors = learned.model.item_vectors(tf.constant(ITEMS.lookup(["red-new", "red0"]))).numpy()
    assert (vectors[0] == 0).all()
    assert (vectors[1] != 0).any()
    assert rebuild(spec(type_, ()), learned.state).feature_tables == {"item_features/learned": "items"}


def test_the_parts_of_an_item_are_what_its_vector_says(type_, first):
    history = tf.constant([[0, 0, *ITEMS.lookup(RED[:4])]], tf.int64)
    shares = first.model.shares(tf.constant([1]), history, tf.constant(ITEMS.lookup(["red-new"])))
    assert list(shares.of_item) == ["its id", *(feature.name for feature in FEATURES)]
    assert shares.of_item["its id"] == 0
    by_vectors = shares.total - sum(
        value for name, value in shares.rest.items() if name not in ("the user's own vector", "no history")
    )
    assert sum(shares.of_item.values()) == pytest.approx(by_vectors, abs=1e-5)
    assert sum(shares.of_item.values()) > 0
