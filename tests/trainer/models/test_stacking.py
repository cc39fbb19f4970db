"""The mixture's weights follow what is true of events that the model has not learned."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.checks.small_data import random_sequences
from trainer.input_pipeline import Positions
from trainer.keras2 import tf
from trainer.models.base import TableSizes
from trainer.models.stacking import Evidence, Stacking

SIZES = TableSizes(40, 5, 2)
HISTORY = 6


def evidence(learned: np.ndarray, popular: np.ndarray):
    """As a model gives it: what was learned depends on the last item."""

    def of(key: tf.Tensor, history: tf.Tensor) -> Evidence:
        query = tf.gather(tf.constant(learned, tf.float32), history[:, -1])
        return Evidence(query, tf.eye(SIZES.items), tf.constant(popular, tf.float32), (), history)

    return of


def drawn(parts, weights: dict[int, float], back: float, count: int) -> Positions:
    """Positions whose targets were drawn by the softmax over known weights."""
    random = np.random.default_rng(0)
    positions = random_sequences(SIZES, count, seed=4).positions()
    batch = next(iter(positions.dataset(len(positions), HISTORY)))
    learned, _, popular, _, history = (np.asarray(part) for part in parts(batch["key"], batch["history"]))
    scores = weights[0] * learned + weights[1] * popular * (history > 0).any(axis=1)[:, None]
    for row, met in enumerate(history):
        scores[row, met[met > 0]] += back
    scores[:, : SIZES.first_row] = -1e9
    share = np.exp(scores - scores.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    target = np.array([random.choice(SIZES.items, p=probabilities) for probabilities in share])
    return Positions(**{**vars(positions), "target": target})


def test_at_first_the_score_is_what_was_learned() -> None:
    learned, popular = np.random.default_rng(1).normal(size=[40, 40]), np.arange(40.0)
    history = tf.constant([[0, 3, 4], [0, 0, 0]], tf.int64)
    parts = evidence(learned, popular)(tf.constant([1, 1]), history)
    scores = Stacking().mix(parts).numpy()
    np.testing.assert_allclose(scores[0], learned[4], rtol=1e-6)
    np.testing.assert_allclose(scores[1], learned[0] + popular, rtol=1e-6, err_msg="without a history, the popular")


def test_the_fit_finds_the_weights_that_the_events_were_drawn_by() -> None:
    random = np.random.default_rng(2)
    parts = evidence(3 * random.normal(size=[40, 40]), random.normal(size=40))
    mixture = Stacking()
    mixture.fit(drawn(parts, {0: 0.5, 1: 0.8}, back=1.5, count=1500), HISTORY, parts, SIZES.first_row, SIZES.items)
    fitted = mixture.weights_.numpy()
    assert fitted[[0, 1]] == pytest.approx([0.5, 0.8], abs=0.15)
    assert fitted[6:9] == pytest.approx([1.5] * 3, abs=0.5)
    assert fitted[5] == 0.0


def test_few_events_move_the_weights_little_and_none_not_at_all() -> None:
    parts = evidence(np.random.default_rng(3).normal(size=[40, 40]), np.zeros(40))
    before = Stacking().weights_.numpy()
    moved = []
    for count in (0, 2, 500):
        mixture = Stacking()
        positions = drawn(parts, {0: 0.0, 1: 0.0}, back=2.0, count=max(count, 1))
        mixture.fit(positions.take(np.arange(count and len(positions))), HISTORY, parts, SIZES.first_row, SIZES.items)
        moved.append(float(np.abs(mixture.weights_.numpy() - before).max()))
    assert moved[0] == 0.0
    assert 0.0 < moved[1] < 0.3 < moved[2]


def test_targets_without_a_row_are_not_fitted_on() -> None:
    parts = evidence(np.zeros([40, 40]), np.zeros(40))
    positions = random_sequences(SIZES, 20, seed=4).positions()
    unknown = Positions(**{**vars(positions), "target": np.ones(len(positions), np.int64)})
    mixture = Stacking()
    mixture.fit(unknown, HISTORY, parts, SIZES.first_row, SIZES.items)
    assert (mixture.weights_.numpy() == Stacking().weights_.numpy()).all()


def test_an_event_counts_in_the_fit_by_its_weight() -> None:
    random = np.random.default_rng(2)
    parts = evidence(3 * random.normal(size=[40, 40]), random.normal(size=40))
    positions = drawn(parts, {0: 0.5, 1: 0.8}, back=1.5, count=300)

    def fitted(chosen: Positions, weight: np.ndarray) -> np.ndarray:
        mixture = Stacking()
        mixture.fit(
            Positions(**{**vars(chosen), "weight": weight.astype(np.float32)}),
            HISTORY,
            parts,
            SIZES.first_row,
            SIZES.items,
        )
        return mixture.weights_.numpy()

    ones, half = np.ones(len(positions), np.float32), np.arange(len(positions)) % 2 == 0
    assert fitted(positions, 3 * ones) == pytest.approx(fitted(positions, ones), rel=1e-6)
    assert fitted(positions, np.where(half, 2, 0)) == pytest.approx(fitted(positions.take(half), ones[half]), rel=1e-6)
    assert fitted(positions, np.where(half, 2, 1)) != pytest.approx(fitted(positions, ones), rel=1e-6)
    assert fitted(positions, np.where(half, 0, -1)) == pytest.approx(Stacking().weights_.numpy())
