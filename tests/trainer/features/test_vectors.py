"""Vectors of items and of texts: a projection from zero, nothing of the vectors in the state, no two encoders mixed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from tests.trainer.features.small_catalogue import popularity_of, sizes_of, vocabulary
from tests.trainer.features.test_models import BLUE, MODELS, POLICY, RED, events, nothing, product_with
from trainer.features.declaration import Feature
from trainer.features.feature_state import FeatureState
from trainer.features.item_features import ItemFeatures, item_features
from trainer.features.item_vectors import (
    Encoded,
    column_of,
    feature_of,
    item_vectors,
    replaced_columns,
    revised_columns,
)
from trainer.input_pipeline import Sequences
from trainer.keras2 import tf
from trainer.settings import ModelSpec, Policy
from trainer.train_state import ModelState, StateError
from trainer.update import Span, Update, rebuild, update
from trainer.vocabulary import Vocabulary
from trainer.warm_start import without_replaced

TITLE, IMAGE = Feature(name="title", kind="text"), Feature(name="image", kind="vector", width=3)
FIRST, SECOND = "title_0123456789ab", "title_ba9876543210"
REVISED = f"{FIRST}_00112233aabb"
NEW = ["red-new", "blue-new", "bare-new"]
ITEMS = vocabulary([*RED, *BLUE], NEW)
PATH = f"item_features/of/{FIRST}/"


def vectors_of(names: Sequence[str], width: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A direction a colour, with noise; none of what is bare."""
    random = np.random.default_rng(seed)
    colours = random.normal(size=(2, width))
    of = np.array([colours[int(name.startswith("blue"))] for name in names]) + 0.1 * random.normal(
        size=(len(names), width)
    )
    missing = np.array([name.startswith("bare") for name in names])
    return np.where(missing[:, None], 0, 40 * of).astype(np.float32), missing


def known(
    items: Vocabulary = ITEMS, column: str = FIRST, width: int = 5, features: Sequence[Feature] = (TITLE, IMAGE)
) -> ItemFeatures:
    names = [name.decode() for name in items.ids.to_pylist()]
    vectors, missing = vectors_of(names, 3)
    cells = [None if no else vector.tobytes() for vector, no in zip(vectors, missing, strict=True)]
    catalogue = pa.table({"item": items.ids, "image": pa.array(cells, pa.binary(12))})
    encoded = {"title": Encoded(column, *vectors_of(names, width, seed=2))}
    return item_features(catalogue, items, FeatureState.load(None, features), features, encoded)


def learn(
    type_: str,
    features: ItemFeatures,
    base: ModelState | None = None,
    sequences: Sequences | None = None,
    items: Vocabulary = ITEMS,
    policy: Policy = POLICY,
    declared: tuple[Feature, ...] = (TITLE, IMAGE),
) -> Update:
    span = Span(1 if base is None else 2, events(items) if sequences is None else sequences)
    spec = spec_of(type_, declared)
    sizes = sizes_of(items, features)
    return update(spec, sizes, [span], nothing(), popularity_of(items), policy, base, features=features)


def spec_of(type_: str, declared: tuple[Feature, ...] = (TITLE, IMAGE)) -> ModelSpec:
    return ModelSpec(type_, MODELS[type_], 6, declared)


def vectors_in(model, *names: str, items: Vocabulary = ITEMS) -> np.ndarray:
    return model.item_vectors(tf.constant(items.lookup([*names]))).numpy()


@pytest.fixture(scope="module", params=MODELS)
def type_(request):
    return request.param


@pytest.fixture(scope="module")
def first(type_) -> Update:
    return learn(type_, known())


def test_a_vector_has_length_1_and_what_has_none_is_told_from_what_is_no_item():
    given = item_vectors(
        IMAGE, Encoded("image", np.array([[3, 4], [0, 0], [0, 0]], np.float32), np.array([0, 0, 1])), ITEMS_3
    )
    assert given.values.dtype == np.float16
    assert given.values == pytest.approx(np.array([[0, 0], [0, 0], [0.6, 0.8], [0, 0], [0, 0]]), abs=1e-3)
    assert given.codes.tolist() == [0, 0, 3, 3, 1]


ITEMS_3 = vocabulary(["a", "b", "c"])


@pytest.mark.parametrize("declared", [(TITLE,), (IMAGE,)], ids=["text", "vector"])
def test_an_item_without_events_is_like_those_with_like_vectors(type_, declared):
    model = learn(type_, known(features=declared), declared=declared).model
    for new, own, other in (("red-new", RED, BLUE), ("blue-new", BLUE, RED)):
        assert product_with(model, new, own, ITEMS) > product_with(model, new, other, ITEMS)


def test_nothing_is_added_at_first_and_missing_has_a_vector_of_its_own(type_):
    bare = learn(type_, known(), policy=dataclasses.replace(POLICY, learning_rate=1e-12))
    assert vectors_in(bare.model, *NEW) == pytest.approx(np.zeros((3, 8)), abs=1e-9)
    items = vocabulary([*RED, *BLUE, "bare0"], NEW)
    sequences = events(items)
    sequences.items[sequences.items == items.lookup(["red0"])[0]] = items.lookup(["bare0"])[0]
    after = learn(type_, known(items), sequences=sequences, items=items)
    assert np.abs(after.state.weights[f"{PATH}absent"]).max() > 0
    said = sum(after.state.weights[f"item_features/of/{name}/absent"] for name in (FIRST, "image"))
    assert vectors_in(after.model, "bare-new", items=items)[0] == pytest.approx(said, abs=1e-6)
    assert vectors_in(after.model)[:0].shape == (0, 8)
    assert (after.model.item_vectors(tf.constant([0, 1])).numpy() == 0).all()


def test_the_state_has_what_came_of_the_vectors_and_not_the_vectors(type_, first, tmp_path):
    first.state.save(tmp_path)
    state = ModelState.load(tmp_path)
    shapes = {path.removeprefix(PATH): array.shape for path, array in state.weights.items() if path.startswith(PATH)}
    rows = ITEMS.size
    assert shapes == {"codes": (rows,), "content": (rows, 8), "projection": (5, 8), "absent": (8,)}
    again = rebuild(spec_of(type_), state)
    key, history = tf.constant([1]), tf.constant([[0, 0, 2, 3, 4, 5]], tf.int64)
    expected = first.model.score_all(key, history).numpy()
    assert again.score_all(key, history).numpy() == pytest.approx(expected, abs=1e-5)
    again.freeze()
    assert again.score_all(key, history).numpy() == pytest.approx(expected, abs=1e-4)


def test_a_warm_start_goes_on_where_the_projection_was(type_, first):
    items = ITEMS.admit(["blue-newer"], 2)
    grown = learn(type_, known(items), first.state, Sequences.empty(), items)
    for path in (f"{PATH}projection", f"{PATH}absent", "item_features/of/image/projection"):
        assert (grown.state.weights[path] == first.state.weights[path]).all()
        assert all((grown.state.slots[path][name] == slot).all() for name, slot in first.state.slots[path].items())
    assert np.abs(vectors_in(grown.model, "blue-newer", items=items)).max() > 0
    assert grown.notes == ()


def test_another_encoder_begins_at_zero_and_says_so(type_, first):
    after = learn(type_, known(column=SECOND, width=7), first.state, Sequences.empty())
    assert not any(path.startswith(PATH) for path in after.state.weights)
    new = f"item_features/of/{SECOND}/"
    assert after.state.weights[f"{new}projection"].tolist() == np.zeros((7, 8)).tolist()
    assert after.notes == (f"Another encoder: what was learned of {FIRST} is dropped, {SECOND} begins at zero.",)
    # All that was learned besides stays.
    image = "item_features/of/image/projection"
    assert (after.state.weights[image] == first.state.weights[image]).all()
    learned = learn(type_, known(column=SECOND, width=7), after.state, events(ITEMS, seed=2))
    assert np.abs(learned.state.weights[f"{new}projection"]).max() > 0
    assert learned.notes == ()


def test_a_revision_of_an_encoder_goes_on_with_what_was_learned_and_says_so(type_, first):
    """The column is another, so that vectors of two revisions can't meet; what was learned of the encoder stays."""
    with pytest.raises(KeyError, match=FIRST):
        first.model.set_features(known(column=REVISED))
    old = dataclasses.replace(first.state, fisher={f"{PATH}projection": np.ones((5, 8)), "other": np.zeros(1)})
    state, notes = without_replaced(old, sizes_of(ITEMS, known(column=REVISED)))
    assert notes == (f"Another revision of an encoder: what was learned of {FIRST} goes on with {REVISED}.",)
    for before, after in ((old.weights, state.weights), (old.slots, state.slots), (old.fisher, state.fisher)):
        assert {path: id(value) for path, value in after.items()} == {
            path.replace(FIRST, REVISED): id(value) for path, value in before.items()
        }
    assert (len(state.sizes.words), old.iterations) == (len(old.sizes.words), state.iterations)
    again = rebuild(spec_of(type_), state)
    assert list(again.item_features.of) == [REVISED, "image"]
    assert np.array_equal(vectors_in(again, *RED, *NEW), vectors_in(rebuild(spec_of(type_), old), *RED, *NEW))
    again.set_features(known(column=REVISED))
    assert without_replaced(state, sizes_of(ITEMS, known(column=REVISED)))[1] == ()


@pytest.mark.slow
@pytest.mark.exhaustive
def test_what_keeps_the_old_days_is_kept_over_an_encoders_change(type_, first):
    stability = {
        "proximal": {"strength": 0.1}, "ewc": {"strength": 0.1}, "averaging": {"share": 0.5},
        "distillation": {"weight": 0.5, "batches": "new"}, "replay": {"budget": 20},
    }  # fmt: skip
    policy = Policy(epochs=1, batch_size=16, stability=stability)
    after = learn(type_, known(column=SECOND), first.state, events(ITEMS, seed=3), policy=policy)
    assert np.isfinite(after.train_loss)


def test_a_text_that_is_declared_later_is_added_and_one_that_is_gone_is_refused(type_, first):
    small = learn(type_, known(features=(IMAGE,)), declared=(IMAGE,))
    more = learn(type_, known(), small.state, Sequences.empty())
    assert (vectors_in(more.model, *RED, *NEW) == vectors_in(small.model, *RED, *NEW)).all()
    assert set(rebuild(spec_of(type_), small.state).item_features.of) == {"image"}
    with pytest.raises(StateError, match=r"gone. The model's settings changed: do a full retrain"):
        learn(type_, known(features=(IMAGE,)), first.state, declared=(IMAGE,))


def test_only_a_text_of_the_same_name_is_replaced():
    before = [("feature_title_0123456789ab", 5), ("feature_image", 3), ("feature_kind", 9)]
    after = [("feature_title_ba9876543210", 5), ("feature_blurb_0123456789ab", 5), ("feature_image", 3)]
    assert replaced_columns(before, after) == {FIRST: SECOND}
    assert replaced_columns(before, before) == {}


def test_revisions_are_told_from_other_encoders():
    def of(column: str) -> list[tuple[str, int]]:
        return [(f"feature_{column}", 5), ("feature_image", 3)]

    again = f"{FIRST}_ffeeddccbbaa"
    for old, new in ((FIRST, REVISED), (REVISED, again), (REVISED, FIRST)):
        assert revised_columns(of(old), of(new)) == {old: new}
        assert replaced_columns(of(old), of(new)) == {}
    for old, new in ((FIRST, SECOND), (REVISED, SECOND), (FIRST, f"{SECOND}_00112233aabb")):
        assert revised_columns(of(old), of(new)) == {}
        assert replaced_columns(of(old), of(new)) == {old: new}
    assert revised_columns(of(REVISED), of(REVISED)) == replaced_columns(of(REVISED), of(REVISED)) == {}
    assert [feature_of(column) for column in (FIRST, REVISED)] == ["title", "title"]
    assert column_of(TITLE, of(REVISED)) == (REVISED, 5)


def test_a_first_step_moves_what_a_vector_adds_no_further_than_what_a_word_does(type_):
    wide = known(width=400)
    one_step = dataclasses.replace(POLICY, epochs=1, batch_size=10_000, initial_accumulator=1e-9)
    model = learn(type_, wide, policy=one_step).model
    own = model.item_features.of[FIRST](tf.constant(ITEMS.lookup(RED))).numpy()
    assert 0.1 * POLICY.learning_rate < np.abs(own).max() < 1.5 * POLICY.learning_rate
