"""DCN-v2, alone and as the second of two stages: what a feature says of an item, and in which order items come."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.explain.trained_model import Ids, TrainedModel
from tests.trainer.features.small_catalogue import FEATURES, of_items, popularity_of, sizes_of, table, vocabulary
from tests.trainer.features.test_query_models import FEATURES as QUERY_FEATURES
from tests.trainer.features.test_query_models import KNOTS, PHONE, TV
from tests.trainer.features.test_query_models import SIZES as ASKED
from tests.trainer.features.test_query_models import events as asked_events
from trainer.input_pipeline import Sequences
from trainer.keras2 import tf
from trainer.metric_aggregation import levels
from trainer.models import ModelError, build_model
from trainer.models.base import Recommender, TableSizes
from trainer.settings import ModelSpec, Policy
from trainer.train_state import ModelState
from trainer.update import Span, Update, rebuild, update

SIZES = TableSizes(items=23, keys=9, first_row=3)
LENGTH = 4
POLICY = Policy(epochs=6, batch_size=16, learning_rate=0.05, optimizer="adam")
RED, BLUE = [f"red{n}" for n in range(8)], [f"blue{n}" for n in range(8)]
DCN = {"dimension": 8, "hidden": [16], "objective": "click"}
MODELS = {"dcn": DCN, "two_stage": {"ranking": DCN, "retrieval": {"dimension": 8}, "candidates": 6}}
ITEMS = vocabulary([*RED, *BLUE], ["red-new", "blue-new"])
KNOWN = {
    name: {"kind": name[:3], "tags": [name[:3]], "price": 1.0 if name.startswith("red") else 9.0}
    for name in [*RED, *BLUE, "red-new", "blue-new"]
}


def visits(keys: int = 60) -> Sequences:
    """Each key sees items of one colour."""
    random = np.random.default_rng(1)
    colours = [ITEMS.lookup(RED), ITEMS.lookup(BLUE)]
    rows = np.concatenate([random.permutation(colours[key % 2])[:5] for key in range(keys)])
    zeros, splits = np.zeros(keys, np.int64), np.arange(0, 5 * keys + 1, 5)
    return Sequences(rows, np.arange(len(rows)), np.ones(len(rows), np.float32), splits, zeros + 1, zeros, zeros)


def learn(name: str, base: ModelState | None = None, sequences: Sequences | None = None, **words: Any) -> Update:
    features = of_items(ITEMS, table(KNOWN | words))
    spans = [Span(1 if base is None else 2, visits() if sequences is None else sequences)]
    return update(
        ModelSpec(name, MODELS[name], LENGTH, FEATURES), sizes_of(ITEMS, features), spans,
        Sequences.empty().positions(), popularity_of(ITEMS), POLICY, base, features=features,
    )  # fmt: skip


def after(model: Recommender, history: list[str], candidates: list[str]) -> np.ndarray:
    rows = tf.constant([ITEMS.lookup(history)])
    return model.score(tf.constant([1], tf.int64), rows, tf.constant([ITEMS.lookup(candidates)])).numpy()[0]


@pytest.fixture(scope="module", params=MODELS)
def learned(request) -> Update:
    return learn(request.param)


def test_an_item_without_events_is_ranked_by_its_features(learned):
    red = after(learned.model, RED[:4], ["red-new", "blue-new"])
    blue = after(learned.model, BLUE[:4], ["red-new", "blue-new"])
    assert red[0] > red[1]
    assert blue[1] > blue[0]


def test_a_word_more_moves_nothing_that_was_learned(learned):
    name = "dcn" if "moments" in learned.state.weights else "two_stage"
    grown = learn(name, learned.state, Sequences.empty(), green={"kind": "gre"})
    prefix = "" if name == "dcn" else "ranking/"
    path = f"{prefix}item_features/of/kind/vectors"
    rows = len(learned.state.weights[path])
    assert grown.state.weights[path].shape == (rows + 1, 8)
    assert (grown.state.weights[path][:rows] == learned.state.weights[path]).all()
    assert (after(grown.model, RED[:4], RED) == after(learned.model, RED[:4], RED)).all()


def test_a_frozen_model_scores_as_the_one_it_was(learned):
    name = "dcn" if "moments" in learned.state.weights else "two_stage"
    again = rebuild(ModelSpec(name, MODELS[name], LENGTH, FEATURES), learned.state)
    again.freeze()
    everything = [*RED, *BLUE, "red-new"]
    assert after(again, BLUE[:3], everything) == pytest.approx(after(learned.model, BLUE[:3], everything), abs=1e-4)


def test_an_event_is_not_predicted_by_its_own_count():
    model = build_model("dcn", SIZES, LENGTH, DCN)
    popularity = np.zeros(SIZES.items)
    popularity[[5, 6]] = 1.0, 40.0
    model.set_popularity(popularity)
    rows = tf.constant([[5, 6]], tf.int64)
    bias = model.candidate(rows, tf.constant([[1.0, 0.0]])).numpy()[0, :, -1]
    assert bias[0] == pytest.approx(model.candidate(tf.constant([[7]], tf.int64)).numpy()[0, 0, -1])
    assert bias[1] == pytest.approx(model.candidate(rows).numpy()[0, 1, -1])


def scrambled(params: dict[str, Any]) -> Recommender:
    model = build_model("two_stage", SIZES, LENGTH, params)
    random = np.random.default_rng(4)
    for variable in model.trainable_variables:
        variable.assign(random.normal(size=variable.shape))
    model.set_popularity(random.uniform(0, 9, SIZES.items))
    return model


@pytest.mark.parametrize("objective", ["click", "rating"])
def test_the_best_candidates_are_ranked_and_the_others_follow_in_the_order_of_retrieval(objective):
    model = scrambled({"ranking": {**DCN, "objective": objective}, "retrieval": {"dimension": 8}, "candidates": 6})
    key, history = tf.constant([4, 5], tf.int64), tf.constant([[0, 0, 7, 8], [3, 4, 5, 6]], tf.int64)
    retrieved = model.retrieval.score_all(key, history).numpy()[:, SIZES.first_row :]
    every = tf.broadcast_to(tf.range(SIZES.first_row, SIZES.items, dtype=tf.int64), retrieved.shape)
    ranked = model.ranking.score(key, history, every).numpy()
    if objective == "click":
        ranked += float(model.share) * retrieved
    scores = model.score_all(key, history).numpy()[:, SIZES.first_row :]
    for row in range(2):
        by_retrieval = np.argsort(-retrieved[row])
        first = by_retrieval[:6]
        expected = [*first[np.argsort(-ranked[row, first])], *by_retrieval[6:]]
        assert np.argsort(-scores[row]).tolist() == expected
        assert scores[row, first] == pytest.approx(ranked[row, first], abs=1e-4)


def test_ratings_are_predicted_beside_the_places_in_the_list():
    model = scrambled({"ranking": {**DCN, "objective": "rating"}, "retrieval": {"dimension": 8}})
    columns = (tf.constant([4]), tf.constant([[0, 0, 7, 8]]), tf.constant([9]))
    key, history, item = (tf.cast(column, tf.int64) for column in columns)
    metrics = model.evaluate_positions(key, history, item, tf.constant([3.0]), 5, False)
    assert set(metrics) == {"recall", "ndcg", "mrr", "rmse"}
    score = float(model.score(key, history, item[:, None])[0, 0])
    assert float(metrics["rmse"][0]) == pytest.approx((score - 3.0) ** 2, rel=1e-4)


def test_labels_are_predicted_and_measured_as_a_classifier_s():
    model = build_model("dcn", SIZES, LENGTH, {**DCN, "objective": "label"})
    random = np.random.default_rng(3)
    item = tf.constant(random.integers(SIZES.first_row, SIZES.items, 64))
    batch = {
        "key": tf.ones(64, tf.int64), "history": tf.zeros([64, LENGTH], tf.int64), "item": item,
        "weight": tf.cast(item % 2, tf.float32),
    }  # fmt: skip
    model.compile(optimizer=tf.keras.optimizers.Adam(0.05))
    model.fit(tf.data.Dataset.from_tensors(batch).repeat(60), verbose=0)
    values = model.evaluate_positions(batch["key"], batch["history"], item, batch["weight"], 5, False)
    measured = levels({name: of.numpy().astype(np.float64) for name, of in values.items()}, np.ones(64))
    assert measured["roc_auc"] == measured["accuracy"] == measured["f1"] == 1.0
    assert measured["log_loss"] < 0.2


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"ranking": {"objective": "label"}}, "must be 'rating' or 'click', not 'label'"),
        ({"candidates": 0}, "candidates must be at least 1, not 0"),
        ({"ranking": {"depth": 3}}, "unexpected keyword argument 'depth'"),
    ],
)
def test_stages_that_can_t_be_built_say_why(params, words):
    with pytest.raises(ModelError, match=words):
        build_model("two_stage", SIZES, LENGTH, params)


@pytest.mark.parametrize("objective", ["click", "rating"])
def test_crosses_say_next_to_nothing_before_they_have_learned(objective):
    model = build_model("dcn", SIZES, LENGTH, {**DCN, "objective": objective, "key_embedding": False})
    rows = tf.constant([[5, 6]], tf.int64)
    scores = model.score(tf.constant([4], tf.int64), tf.constant([[0, 0, 7, 8]], tf.int64), rows).numpy()
    assert scores[0, 0] == pytest.approx(scores[0, 1], abs=0.02)


def test_popularity_counts_once_in_two_stages():
    model = build_model("two_stage", SIZES, LENGTH, {})
    model.set_popularity(np.arange(SIZES.items, dtype=np.float64))
    key, history = tf.constant([4], tf.int64), tf.constant([[0, 0, 7, 8]], tf.int64)
    scores, retrieved = (of.score_all(key, history).numpy()[:, SIZES.first_row :] for of in (model, model.retrieval))
    assert scores == pytest.approx(float(model.share) * retrieved, abs=0.02)


@pytest.mark.parametrize("name", MODELS)
def test_what_is_known_of_the_request_crosses_with_the_item(name):
    sequences = asked_events()
    nothing = Sequences.empty().positions()
    policy = Policy(epochs=8, batch_size=16, learning_rate=0.1, initial_accumulator=1e-3)
    spec = ModelSpec(name, MODELS[name], LENGTH, query_features=QUERY_FEATURES)
    popularity = np.bincount(sequences.items, minlength=ASKED.items).astype(np.float64)
    model = update(spec, ASKED, [Span(1, sequences)], nothing, popularity, policy, knots=KNOTS).model

    def liking(device: int) -> float:
        key = {
            "row": tf.constant([1], tf.int64), "feature_device": tf.constant([[device]], tf.int64),
            "feature_hour": tf.constant([np.nan], tf.float32),
        }  # fmt: skip
        scores = model.score_all(key, tf.zeros([1, LENGTH], tf.int64)).numpy()[0]
        return float(scores[2:10].mean() - scores[10:].mean())

    assert liking(TV) > 0.5 > -0.5 > liking(PHONE)
    without = model.score_all(tf.constant([1, 1], tf.int64), tf.zeros([2, LENGTH], tf.int64)).numpy()
    assert without.shape == (2, ASKED.items)


def test_explain_finds_the_nearest_items_by_what_stands_for_them_in_a_history(learned):
    vectors = TrainedModel(learned.model, Ids(ITEMS, vocabulary([]), {}, np.ones(18, bool))).vectors()
    assert vectors is not None
    assert vectors.shape == (18, 8)
    red, blue, new = vectors[:8].mean(axis=0), vectors[8:16].mean(axis=0), vectors[16]
    assert np.dot(new, red) > np.dot(new, blue)
