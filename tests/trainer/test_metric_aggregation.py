"""What metrics come to over many positions, held against scikit-learn's words for it in plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.keras2 import tf
from trainer.metric_aggregation import aggregate, contributions, is_mean, labelled, levels

POSITIONS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 8).map(lambda eighth: eighth / 8), st.integers(0, 3)), min_size=1
)


def columns(positions: list[tuple[bool, float, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    label, probability, weight = (np.array(column, np.float64) for column in zip(*positions, strict=True))
    values = labelled(tf.constant(probability, tf.float32), tf.constant(label, tf.float32)).numpy().astype(np.float64)
    return values, label, probability, weight


@given(POSITIONS)
def test_roc_auc_is_the_chance_that_a_positive_is_scored_above_a_negative(positions: list) -> None:
    values, label, probability, weight = columns(positions)
    won = total = 0.0
    for of_positive, positive, w in zip(label, probability, weight, strict=True):
        for of_negative, negative, v in zip(label, probability, weight, strict=True):
            if of_positive and not of_negative:
                total += w * v
                won += w * v * (1.0 if positive > negative else 0.5 if positive == negative else 0.0)
    area = aggregate("roc_auc", values, weight)
    assert math.isnan(area) if not total else area == pytest.approx(won / total)


@given(POSITIONS)
def test_f1_counts_predictions_from_one_half_on_as_positive(positions: list) -> None:
    values, label, probability, weight = columns(positions)
    taken = probability >= 0.5
    right = weight[(label > 0) & taken].sum()
    named, there = weight[taken].sum(), weight[label > 0].sum()
    f1 = aggregate("f1", values, weight)
    assert math.isnan(f1) if not named + there else f1 == pytest.approx(2 * right / (named + there))


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 3)), min_size=1))
def test_rmse_is_the_root_of_the_mean(positions: list) -> None:
    squares, weight = (np.array(column, np.float64) for column in zip(*positions, strict=True))
    rmse = aggregate("rmse", squares, weight)
    assert math.isnan(rmse) if not weight.any() else rmse == pytest.approx(np.average(squares, weights=weight) ** 0.5)


@pytest.mark.parametrize("metric", ["roc_auc", "f1", "rmse", "recall"])
def test_contributions_say_how_sure_a_metric_is(metric: str) -> None:
    # Over many samples the metric spreads as widely as the contributions of one of them say.
    random = np.random.default_rng(2)

    def sample(size: int = 400) -> np.ndarray:
        label = (random.random(size) < 0.3).astype(np.float64)
        probability = np.clip(0.35 + 0.2 * label + 0.2 * random.normal(size=size), 0, 0.999)
        return label + probability if metric in ("roc_auc", "f1") else np.square(probability)

    weight = np.ones(400)
    measured = [aggregate(metric, sample(), weight) for _ in range(300)]
    expected = np.std(contributions(metric, sample(), weight)) / 400**0.5
    assert np.std(measured) == pytest.approx(expected, rel=0.25)


def test_a_metric_that_is_not_defined_is_no_level() -> None:
    values = np.array([0.2, 0.7])  # no positive label
    weight = np.ones(2)

    assert levels({"roc_auc": values, "log_loss": values}, weight) == {"log_loss": pytest.approx(0.45)}
    assert levels({"log_loss": values}, np.zeros(2)) == {}
    assert levels({"log_loss": np.zeros(0), "f1": np.zeros(0)}, np.zeros(0)) == {}


def test_a_certain_prediction_is_not_taken_for_a_label() -> None:
    values = labelled(tf.constant([1.0, 1.0, 0.0]), tf.constant([0.0, 1.0, 1.0])).numpy().astype(np.float64)

    assert (values >= 1).tolist() == [False, True, True]
    assert aggregate("roc_auc", values, np.ones(3)) == pytest.approx(0.25)


def test_which_metrics_are_means() -> None:
    assert [is_mean(name) for name in ("recall", "log_loss", "rmse", "roc_auc", "f1")] == [True, True] + [False] * 3
