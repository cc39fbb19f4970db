from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from trainer.checks.small_data import held_out, random_sequences
from trainer.keras2 import keras, tf
from trainer.metrics import mask_scores
from trainer.models import ModelError, build_model
from trainer.models.base import Recommender, TableSizes, VocabularyName
from trainer.settings import ModelSpec, Policy
from trainer.train_state import named_variables
from trainer.update import Span, update

SIZES = TableSizes(items=14, keys=9, first_row=3)
LENGTH = 4
BUILT_IN = [
    ("two_tower", {"dimension": 8, "negatives": 20}),
    ("two_tower", {"dimension": 8, "negatives": 20, "key_embedding": False, "dropout": 0.1}),
    ("ranking", {"dimension": 8, "hidden": [16, 8]}),
    ("ranking", {"dimension": 8, "hidden": [16], "objective": "click"}),
]
EVERY = pytest.mark.parametrize(("name", "params"), BUILT_IN, ids=["two_tower", "keyless", "rating", "click"])


class Own(Recommender):
    """A user's model: popularity and nothing else."""

    tables: ClassVar[dict[str, VocabularyName]] = {"counts": "items"}

    def __init__(self, sizes: TableSizes, history_length: int, power: float = 1.0) -> None:
        super().__init__(sizes, history_length)
        self.power = self.add_weight("power", [], initializer=keras.initializers.Constant(power))
        self.counts = self.add_weight("counts", [sizes.items], initializer="zeros", trainable=False)

    def set_popularity(self, recent: np.ndarray) -> None:
        self.counts.assign(recent.astype(np.float32))

    def score_all(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        return tf.ones_like(key[:, None], tf.float32) * self.power * tf.math.log1p(self.counts)

    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        scores = self.score_all(batch["key"], batch["history"])
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=batch["item"], logits=scores))


def batch_of(key: list[int], history: list[list[int]], item: list[int], weight: list[float]) -> dict[str, tf.Tensor]:
    return {
        "key": tf.constant(key, tf.int64),
        "history": tf.constant(history, tf.int64),
        "item": tf.constant(item, tf.int64),
        "weight": tf.constant(weight, tf.float32),
    }


def random_batch(size: int = 24) -> dict[str, tf.Tensor]:
    random = np.random.default_rng(3)
    history = random.integers(1, SIZES.items, [size, LENGTH])
    history[np.arange(LENGTH)[None, :] < random.integers(0, LENGTH + 1, [size, 1])] = 0
    return batch_of(
        random.integers(1, SIZES.keys, size).tolist(),
        history.tolist(),
        random.integers(SIZES.first_row, SIZES.items, size).tolist(),
        random.normal(7, 2, size).tolist(),
    )


def learnable_batch() -> dict[str, tf.Tensor]:
    """After item i comes item i + 1, rated by its row number."""
    last = np.arange(SIZES.first_row, SIZES.items - 1)
    history = np.zeros([len(last), LENGTH], np.int64)
    history[:, -1] = last
    return batch_of(
        (SIZES.first_row + last % 5).tolist(), history.tolist(), (last + 1).tolist(), (100.0 + 10 * last).tolist()
    )


def scrambled(name: str, params: dict) -> Recommender:
    """A model with values of no pattern in all its variables."""
    model = build_model(name, SIZES, LENGTH, params)
    random = np.random.default_rng(5)
    for variable in model.variables:
        variable.assign(random.uniform(0.1, 1.0, variable.shape) * (1.0 if "popularity" in variable.name else 0.9))
    model.set_popularity(random.uniform(0, 9, SIZES.items))
    for moments in (variable for path, variable in named_variables(model).items() if path == "moments"):
        moments.assign([30.0, 7.0, 53.0])
    return model


def fit(model: Recommender, batch: dict[str, tf.Tensor], steps: int) -> None:
    model.fit(tf.data.Dataset.from_tensors(batch).repeat(steps), epochs=1, verbose=0)


@EVERY
def test_loss_falls_on_what_can_be_learned(name: str, params: dict) -> None:
    batch = learnable_batch()
    model = build_model(name, SIZES, LENGTH, params)
    model.set_popularity(np.ones(SIZES.items))
    model.compile(optimizer=keras.optimizers.Adagrad(0.05, initial_accumulator_value=1e-6))
    fit(model, batch, 1)
    first = float(model.compute_loss(batch))
    fit(model, batch, 150)
    assert float(model.compute_loss(batch)) < 0.5 * first
    if "auc" in model.metric_names(params):
        metrics = model.evaluate_positions(batch["key"], batch["history"], batch["item"], batch["weight"], 3, False)
        assert np.mean(metrics["auc"]) > 0.9


@EVERY
def test_a_frozen_model_keeps_the_items_once(name: str, params: dict) -> None:
    batch = random_batch()
    model = scrambled(name, params)
    model.freeze()
    graph = tf.function(model.score_all).get_concrete_function(batch["key"], batch["history"])
    of_items = [variable.shape for variable in graph.variables if variable.shape[:1] == [SIZES.items]]
    # The ranking tower keeps its first layer's half of each item beside the vector that histories are made of.
    assert len([shape for shape in of_items if shape.rank == 2]) == (2 if name == "ranking" else 1)


@EVERY
@pytest.mark.parametrize("exclude_seen", [True, False])
def test_evaluate_positions_agrees_with_plain_loops(name: str, params: dict, exclude_seen: bool) -> None:
    batch, k = random_batch(), 3
    model = scrambled(name, params)
    scores = model.score_all(batch["key"], batch["history"]).numpy()
    rows = {field: value.numpy() for field, value in batch.items()}
    expected: dict[str, list[float]] = {"recall": [], "ndcg": [], "mrr": [], "rmse": [], "auc": []}
    for i, target in enumerate(rows["item"]):
        hidden = set(rows["history"][i]) - {target} if exclude_seen else set()
        others = [scores[i, row] for row in range(SIZES.first_row, SIZES.items) if row != target and row not in hidden]
        rank = sum(other >= scores[i, target] for other in others)
        won = sum(float(other < scores[i, target]) + 0.5 * float(other == scores[i, target]) for other in others)
        expected["recall"].append(float(rank < k))
        expected["ndcg"].append(1 / np.log2(rank + 2) if rank < k else 0.0)
        expected["mrr"].append(1 / (rank + 1) if rank < k else 0.0)
        expected["auc"].append(won / len(others))
        expected["rmse"].append((scores[i, target] - rows["weight"][i]) ** 2)
    metrics = model.evaluate_positions(*(batch[f] for f in ("key", "history", "item", "weight")), k, exclude_seen)
    for metric, values in metrics.items():
        np.testing.assert_allclose(values, expected[metric], rtol=1e-3, atol=1e-5)


@EVERY
def test_a_history_of_unknown_items_says_nothing_before_it_is_trained_on(name: str, params: dict) -> None:
    model = build_model(name, SIZES, LENGTH, params)
    model.set_popularity(np.ones(SIZES.items))
    scores = model.score_all(tf.constant([1, 1], tf.int64), tf.constant([[0] * LENGTH, [0, 0, 1, 2]], tf.int64))
    np.testing.assert_array_equal(scores[0], scores[1])


def in_batch_model() -> Recommender:
    """A two-tower model that gives every item one score and draws nothing from the catalogue."""
    model = build_model("two_tower", SIZES, LENGTH, {"dimension": 4})
    model.negatives = 0
    model.item_embedding.embeddings.assign(tf.zeros_like(model.item_embedding.embeddings))
    model.slope.assign(0.0)
    return model


def test_a_row_s_own_item_is_no_negative_of_it() -> None:
    model = in_batch_model()
    model.set_popularity(np.ones(SIZES.items))
    batch = batch_of([4, 5, 6], [[0] * LENGTH] * 3, [7, 7, 7], [1.0] * 3)
    assert float(model.compute_loss(batch, training=True)) == pytest.approx(0.0, abs=1e-5)


def test_frequent_items_do_not_pay_for_being_drawn_often() -> None:
    model = in_batch_model()
    popularity = np.arange(SIZES.items, dtype=np.float64)
    model.set_popularity(popularity)
    items = [3, 8, 13]
    batch = batch_of([4, 5, 6], [[0] * LENGTH] * 3, items, [1.0] * 3)
    logits = -np.log(popularity[items] / popularity.sum())  # equation 3 of Yi et al., where the model's own score is 0
    expected = np.log(np.exp(logits).sum()) - logits.mean()
    assert float(model.compute_loss(batch, training=True)) == pytest.approx(expected, rel=1e-4)


def test_sampled_loss_with_even_negatives_comes_near_the_loss_over_the_catalogue() -> None:
    model = build_model("two_tower", SIZES, LENGTH, {"dimension": 4, "negatives": 200_000})
    popularity = np.arange(SIZES.items, dtype=np.float64) * 1e6
    popularity[: SIZES.first_row] = 0
    model.set_popularity(popularity)
    items = list(range(SIZES.first_row, SIZES.items))
    batch = batch_of([4] * len(items), [[0, 0, 5, 9]] * len(items), items, [1.0] * len(items))
    scores = mask_scores(model.score_all(batch["key"], batch["history"]), SIZES.first_row).numpy().astype(np.float64)
    drawn = 200_000 + len(items)
    probability = np.array(
        [count / popularity.sum() * len(items) + 200_000 / len(items) for count in popularity[items]]
    )
    logits = scores[:, items] - np.log(probability / drawn)
    # Of each other item about as many are drawn as its probability says: a softmax over the catalogue, `drawn` times.
    others = drawn * (np.exp(scores[:, items]).sum(axis=1) - np.exp(scores[0, items]))
    own = np.exp(np.diagonal(logits))
    expected = np.mean(np.log(own + others) - np.diagonal(logits))
    assert float(model.compute_loss(batch, training=True)) == pytest.approx(expected, rel=0.01)


def test_items_that_the_batch_lacks_are_learned_from() -> None:
    model = build_model("two_tower", SIZES, LENGTH, {"dimension": 4, "negatives": 300})
    model.set_popularity(np.ones(SIZES.items))
    batch = batch_of([4, 5], [[0, 0, 0, 3]] * 2, [4, 5], [1.0] * 2)
    with tf.GradientTape() as tape:
        loss = model.compute_loss(batch, training=True)
    gradient = tape.gradient(loss, model.item_embedding.embeddings)
    assert isinstance(gradient, tf.IndexedSlices)  # a step's cost follows the batch, not the catalogue
    assert set(gradient.indices.numpy()) >= set(range(SIZES.first_row, SIZES.items))


def test_an_event_does_not_predict_itself_by_its_own_count() -> None:
    """Popularity is told with the event in it: an item of one event must not be known to occur."""
    model = in_batch_model()
    model.slope.assign(1.0)
    popularity = np.ones(SIZES.items)
    popularity[7] = 101.0
    model.set_popularity(popularity)
    batch = batch_of([4, 5], [[0] * LENGTH] * 2, [6, 7], [1.0] * 2)
    logits = np.log([0.1, 100.1]) - np.log([1.0, 101.0])
    expected = np.log(np.exp(logits).sum()) - logits.mean()
    assert float(model.compute_loss(batch, training=True)) == pytest.approx(expected, rel=1e-4)


def test_without_a_history_the_popular_comes_first() -> None:
    model = build_model("two_tower", SIZES, LENGTH, {})
    popularity = np.random.default_rng(2).permutation(SIZES.items).astype(np.float64)
    model.set_popularity(popularity)
    scores = model.score_all(tf.constant([1], tf.int64), tf.zeros([1, LENGTH], tf.int64))[0]
    np.testing.assert_array_equal(np.argsort(scores), np.argsort(popularity))


def test_events_of_items_without_a_row_are_left_out_of_the_two_tower_loss() -> None:
    model = in_batch_model()
    model.set_popularity(np.ones(SIZES.items))
    batch = batch_of([4, 5, 6], [[0] * LENGTH] * 3, [7, 8, 1], [1.0] * 3)
    known = {field: value[:2] for field, value in batch.items()}
    for training in (True, False):
        assert float(model.compute_loss(batch, training)) == pytest.approx(float(model.compute_loss(known, training)))


def test_ratings_are_predicted_on_their_own_scale_from_the_first_batch_on() -> None:
    batch = learnable_batch()
    batch["weight"] = 1e4 + 10 * batch["weight"]
    model = build_model("ranking", SIZES, LENGTH, {"objective": "rating"})
    model.compute_loss(batch, training=True)
    guess = model.score(batch["key"], batch["history"], batch["item"][:, None]).numpy()
    assert np.abs(guess - batch["weight"].numpy().mean()).max() < 5 * batch["weight"].numpy().std()


def test_rating_moments_are_those_of_all_weights_trained_on() -> None:
    model = build_model("ranking", SIZES, LENGTH, {})
    batches = [random_batch(24), random_batch(5)]
    for batch in batches:
        model.compute_loss(batch, training=True)
        model.compute_loss(batch, training=False)  # what is held out is not looked at
    weights = np.concatenate([batch["weight"] for batch in batches])
    np.testing.assert_allclose(model.moments, [29, weights.mean(), np.square(weights).mean()], rtol=1e-5)


def test_a_click_s_own_history_is_no_negative_of_it() -> None:
    sizes = TableSizes(items=3 + LENGTH + 1, keys=9, first_row=3)
    model = build_model("ranking", sizes, LENGTH, {"objective": "click", "negatives": 50})
    batch = batch_of([4], [[4, 5, 6, 7]], [3], [1.0])
    logit = model.score(batch["key"], batch["history"], batch["item"][:, None])[0, 0]
    assert float(model.compute_loss(batch)) == pytest.approx(float(tf.nn.softplus(-logit)), rel=1e-4)


def test_a_model_of_one_s_own_comes_in_by_dotted_path() -> None:
    own = "tests.trainer.models.test_models.Own"
    result = update(
        ModelSpec(own, {"power": 0.5}, LENGTH),
        SIZES,
        [Span(0, random_sequences(SIZES, 20, seed=1))],
        held_out(SIZES, 5, seed=2),
        np.arange(SIZES.items, dtype=np.float64),
        Policy(epochs=2, optimizer="adagrad"),
    )
    assert type(result.model).__name__ == "Own"
    batch = random_batch()
    candidates = tf.constant([[3, 13]] * 24, tf.int64)
    assert np.all(np.diff(result.model.score(batch["key"], batch["history"], candidates)) > 0)
    before = result.model.score_all(batch["key"], batch["history"]).numpy()
    result.model.freeze()
    np.testing.assert_array_equal(result.model.score_all(batch["key"], batch["history"]), before)


@pytest.mark.parametrize(
    ("type_", "params", "words"),
    [
        ("three_tower", {}, "must be one of two_tower, ranking"),
        ("tests.trainer.nowhere.Model", {}, "can be imported"),
        ("tests.trainer.models.test_models.SIZES", {}, "must be a subclass"),
        ("two_tower", {"dimensions": 3}, "must be keyword arguments of two_tower.*dimensions"),
        ("two_tower", {"negatives": 0}, "negatives must be at least 1"),
        ("ranking", {"objective": "likes"}, "objective must be 'rating', 'click' or 'label'"),
    ],
)
def test_a_model_that_can_t_be_built_says_why(type_: str, params: dict, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        build_model(type_, SIZES, LENGTH, params)


def test_a_model_does_not_depend_on_what_was_built_before_it() -> None:
    """Its layers' names decide in which order TensorFlow adds up."""
    keras.layers.Dense(1)
    names = [
        [part.name for part in build_model("sasrec", TableSizes(9, 5, 3), 4, {"dimension": 8}).submodules]
        for _ in range(2)
    ]
    assert names[0] == names[1]
    assert len(set(names[0])) > 1
