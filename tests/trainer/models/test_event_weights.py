"""How much an event counts in the losses of the built-in models."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.checks.recommender_case import HISTORY, SIZES, first_span
from trainer.keras2 import tf
from trainer.models import build_model
from trainer.models.base import Recommender
from trainer.training_batches import make_training_batches

_SASREC = {"dimension": 8, "negatives": 5, "neighbours": 0, "dropout": 0.0, "item_dropout": 0.0}
MODELS = {
    "two_tower": ("two_tower", {"dimension": 8, "negatives": 20}),
    "click": ("ranking", {"dimension": 8, "hidden": [16], "objective": "click"}),
    "sasrec": ("sasrec", {**_SASREC, "reverse": False}),
    "hstu": ("hstu", {**_SASREC, "reverse": False}),
    "whole_catalogue": ("sasrec", {**_SASREC, "reverse": False, "negatives": 50}),
}
EVERY = pytest.mark.parametrize("name", MODELS)
# Against the softmax over the whole catalogue; what `click` is held against is drawn.
EXACT = pytest.mark.parametrize("name", ["two_tower", "sasrec"])


def model_of(name: str) -> Recommender:
    tf.random.set_seed(3)
    model = build_model(MODELS[name][0], SIZES, HISTORY, MODELS[name][1])
    model.set_popularity(np.arange(SIZES.items, dtype=float))
    return model


def training_batch(model: Recommender) -> dict[str, tf.Tensor]:
    return next(iter(make_training_batches(model, first_span(), 30, HISTORY, seed=2).data))


def loss(model: Recommender, batch: dict[str, tf.Tensor], weight: np.ndarray, training: bool = True) -> np.ndarray:
    """With the same negatives each time."""
    tf.random.set_seed(5)
    return model.compute_loss({**batch, "weight": tf.constant(weight, tf.float32)}, training=training).numpy()


@EVERY
def test_equal_weights_are_no_weights(name):
    model = model_of(name)
    batch = training_batch(model)
    ones = np.where(batch["item"] > 0, 1.0, 0.0)
    for training in (True, False):
        if not training:
            batch = next(iter(first_span().positions().dataset(50, HISTORY)))
            ones = np.ones(len(batch["item"]))
        assert loss(model, batch, 4 * ones, training) == pytest.approx(loss(model, batch, ones, training), rel=1e-6)


@EVERY
def test_a_loss_is_the_mean_by_the_weights_of_the_positions(name):
    """Whole numbers are as many of the position: a batch counts by what its parts say alone."""
    model = model_of(name)
    batch = training_batch(model)
    item = batch["item"].numpy()
    places = np.argwhere(item >= SIZES.first_row)
    single = []
    for place in places:
        alone = np.zeros(item.shape)
        alone[tuple(place)] = 1
        single.append(loss(model, batch, alone))
    weight = np.zeros(item.shape)
    counts = 0.5 + np.arange(len(places)) % 4
    weight[tuple(places.T)] = counts
    # Of `click`, an event's negatives that are none fall out: an event with more of them counts more.
    tolerance = 0.05 if name == "click" else 1e-5
    assert loss(model, batch, weight) == pytest.approx(np.average(single, weights=counts), rel=tolerance)
    assert loss(model, batch, weight) != pytest.approx(np.mean(single), rel=1e-6)


@EXACT
def test_the_held_out_loss_is_the_mean_by_the_weights(name):
    model = model_of(name)
    batch = next(iter(first_span().positions().dataset(40, HISTORY)))
    known = batch["item"].numpy() >= SIZES.first_row
    single = np.array([loss(model, batch, np.arange(40) == place, training=False) for place in range(40)])
    weight = 0.5 + np.arange(40) % 4
    expected = np.average(single[known], weights=weight[known])
    assert loss(model, batch, weight, training=False) == pytest.approx(expected, rel=1e-5)


@EVERY
@pytest.mark.parametrize("value", [0.0, -2.0])
def test_what_does_not_count_is_not_learned_and_is_no_nan(name, value):
    model = model_of(name)
    batch = training_batch(model)
    batch["weight"] = tf.fill(tf.shape(batch["weight"]), value)
    with tf.GradientTape() as tape:
        total = model.compute_loss(batch, training=True)
    assert float(total) == 0
    for gradient in tape.gradient(total, model.trainable_variables):
        assert gradient is None or not np.any(tf.convert_to_tensor(gradient).numpy())


def test_a_rating_is_what_is_predicted_and_not_how_much_it_counts():
    assert build_model("ranking", SIZES, HISTORY, {}).weight_role({}) == "label"
    assert build_model("ranking", SIZES, HISTORY, {}).weight_role({"objective": "click"}) == "loss"
