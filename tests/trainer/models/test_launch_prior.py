"""Items with few events have the popularity that those of their kind let expect."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.trainer.features.small_catalogue import FEATURES, popularity_of, sizes_of, table
from tests.trainer.features.test_models import MODELS, POLICY, nothing
from trainer.features.feature_state import FeatureState
from trainer.features.item_features import ItemFeatures, item_features
from trainer.features.launch_prior import rates
from trainer.input_pipeline import Sequences
from trainer.keras2 import tf
from trainer.models.feature_tower import LAUNCHES, NumberFeature
from trainer.models.launch_prior import FEW, kinds_of_numbers, kinds_of_words
from trainer.settings import ModelSpec
from trainer.train_state import ModelState
from trainer.update import Span, Update, rebuild, update
from trainer.vocabulary import Vocabulary

SPANS = range(2, 8)
NAMES = [f"{kind}{number}" for kind in ("hit", "dud") for number in range(12)]
BOTH = ["hit-new", "dud-new"]


def launched(span: int) -> list[str]:
    """Two items of each kind appear in a span."""
    return [name for name in NAMES if int(name[3:]) // 2 <= span - 2]


def met(span: int) -> list[str]:
    """A hit has four events in each span from the first one on, a dud has one every other span."""
    hits = [name for name in launched(span) if name.startswith("hit")]
    duds = [name for name in launched(span) if name.startswith("dud") and (int(name[3:]) + span) % 2]
    return [*hits * 4, *duds, *["old"] * 30]


def days() -> list[tuple[Vocabulary, ItemFeatures, Span]]:
    """By span the vocabulary, what the model is told, and the events."""
    items, state, listed, made = Vocabulary.empty(1), FeatureState.load(None, FEATURES), {}, []
    since: dict[str, int] = {}
    for number in SPANS:
        for name in ("old", *launched(number), *(BOTH if number == SPANS[-1] else ())):
            since.setdefault(name, number)
            listed[name] = {"kind": name[:3], "price": 1.0 if name.startswith("hit") else 9.0}
        catalogue = table(listed, span=number)
        catalogue = catalogue.set_column(1, "since", [list(since.values())])
        items = items.grow(met(number), number, 1, 2.0).admit(list(listed), number)
        state = state.grown(catalogue, FEATURES, number, number - 1)
        rows = items.lookup(met(number))
        splits = np.arange(0, len(rows) + 1)
        zeros = np.zeros(len(rows), np.int64)
        events = Sequences(rows, np.arange(len(rows)), np.ones(len(rows), np.float32), splits, zeros + 1, zeros, zeros)
        made.append((items, item_features(catalogue, items, state, FEATURES, half_life=2.0), Span(number, events)))
    return made


DAYS = days()
ITEMS = DAYS[-1][0]


def learn(
    type_: str, day: int, base: ModelState | None = None, spans: list[Span] | None = None, prior: bool = True
) -> Update:
    items, features, span = DAYS[day]
    spec = ModelSpec(type_, {**MODELS[type_], "launch_prior": prior}, 6, FEATURES)
    return update(
        spec, sizes_of(items, features), [span] if spans is None else spans, nothing(), popularity_of(items), POLICY,
        base, features=features,
    )  # fmt: skip


@pytest.fixture(scope="module", params=MODELS)
def type_(request):
    return request.param


@pytest.fixture(scope="module")
def last(type_) -> Update:
    state = None
    for day in range(len(DAYS)):
        result = learn(type_, day, state)
        state = result.state
    return result


def popularity(model, *names: str) -> list[float]:
    return model.log_popularity(tf.constant(ITEMS.lookup(list(names)))).numpy().tolist()


def test_what_nobody_has_met_is_expected_to_get_what_its_kind_got(last):
    hit, dud = popularity(last.model, "hit-new", "dud-new")
    assert hit > dud
    expected = last.state.weights[f"{LAUNCHES}expected"][ITEMS.lookup(BOTH)]
    memory = DAYS[-1][1].launches.memory
    assert expected[0] == pytest.approx(4 * memory, rel=0.5)
    assert expected[1] < memory


def test_items_with_many_events_are_what_they_are(type_, last):
    row = ITEMS.lookup(["old"])
    assert ITEMS.counts[row[0] - ITEMS.first_row] >= FEW
    assert last.state.weights[f"{LAUNCHES}expected"][row] == pytest.approx(0.0)
    exposure = sum(0.5 ** (age / 2) for age in range(len(SPANS)))
    memory = DAYS[-1][1].launches.memory
    assert last.state.weights[f"{LAUNCHES}scale"][row] == pytest.approx(memory / exposure, rel=1e-5)


def test_one_event_of_its_own_is_half_of_what_is_known(last):
    dud = next(name for name in NAMES if name.startswith("dud") and ITEMS.trained_counts([name])[0] == 1)
    row, launches = ITEMS.lookup([dud])[0], DAYS[-1][1].launches
    weights, morning = last.state.weights, launches.morning(launches.following)
    own = ITEMS.recent[row - ITEMS.first_row] * launches.memory / launches.exposure(morning)[row]
    scale, expected = weights[f"{LAUNCHES}scale"][row], weights[f"{LAUNCHES}expected"][row]
    assert scale * ITEMS.recent[row - ITEMS.first_row] == pytest.approx(own / 2, rel=1e-5)
    assert expected > 0


def test_spans_that_are_owed_teach_what_they_taught_on_their_own_day(type_, last):
    third = None
    for day in range(3):
        third = learn(type_, day, None if third is None else third.state)
    owed = learn(type_, len(DAYS) - 1, third.state, [span for _, _, span in DAYS[3:]])
    for name in ("expected", "scale", "stage", "of_kind"):
        path = f"{LAUNCHES}{name}"
        assert owed.state.weights[path] == pytest.approx(last.state.weights[path], rel=0.15, abs=0.15)


def test_a_model_without_a_prior_begins_to_have_one(type_, tmp_path):
    without = learn(type_, 0, prior=False)
    assert not any(path.startswith(LAUNCHES) for path in without.state.weights)
    spec = ModelSpec(type_, MODELS[type_], 6, FEATURES)
    assert rebuild(spec, without.state).item_features.launches is None
    begun = learn(type_, 1, without.state)
    assert begun.state.weights[f"{LAUNCHES}expected"].max() > 0
    begun.state.save(tmp_path)
    again = rebuild(spec, ModelState.load(tmp_path))
    names = NAMES[:2]
    assert popularity(again, *names) == pytest.approx(popularity(begun.model, *names))
    again.freeze()
    key, history = tf.constant([1]), tf.constant([[0, 0, 2, 3, 4, 3]], tf.int64)
    assert again.score_all(key, history).numpy() == pytest.approx(begun.model.score_all(key, history).numpy(), abs=1e-4)


def test_without_features_there_is_none(type_):
    items, features, span = DAYS[0]
    features = dataclasses.replace(features, words={}, numbers={}, knots={}, sizes=())
    spec = ModelSpec(type_, MODELS[type_], 6, ())
    learned = update(
        spec, sizes_of(items, features), [span], nothing(), popularity_of(items), POLICY, features=features
    )
    assert not any(path.startswith(LAUNCHES) for path in learned.state.weights)


def test_kinds_of_numbers_are_what_a_model_interpolates():
    layer = NumberFeature(7, 3)
    layer.knots.assign(np.concatenate([[0.0, 1.0, 4.0], 1e30 * np.arange(1, 14)]).astype(np.float32))
    values = np.array([-np.inf, -1.0, 0.5, 3.0, 9.0, np.nan, np.inf], np.float32)
    layer.values.assign(values)
    layer.vectors.assign(np.random.default_rng(1).normal(size=layer.vectors.shape).astype(np.float32))
    kinds = kinds_of_numbers(values, layer.knots.numpy())
    expected = layer(tf.range(7)).numpy()
    assert (kinds @ layer.vectors.numpy())[1:] == pytest.approx(expected[1:], abs=1e-5)


def test_kinds_of_words_are_shares():
    kinds = kinds_of_words(np.array([[0, 0], [3, 0], [3, 4]], np.int32), 5).toarray()
    assert kinds.tolist() == [[0, 0, 0, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0.5, 0.5]]
    assert rates(kinds_of_words(np.array([[3, 4]]), 5), np.array([0, 0, 0, 1.0, 3.0])).tolist() == [np.exp(2.0)]
