"""The mixture's weights follow what is true of events that the model has not learned."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.checks.small_data import random_sequences
from trainer.input_pipeline import Positions
from trainer.keras2 import tf
from trainer.models.base import TableSizes
from trainer.models.catalogue_blocks import SparseScores
from trainer.models.evidence_network import forward
from trainer.models.stacking import Evidence, Material, Stacking, looked_up, loss_of

SIZES = TableSizes(40, 5, 2)
HISTORY = 6


def of_items(item: tf.Tensor) -> tf.Tensor:
    """As a model gives it: log popularity and log count, here by row."""
    return tf.stack([tf.cast(item, tf.float32) / 20, tf.math.log1p(tf.cast(item, tf.float32))], axis=1)


def evidence(learned: np.ndarray, popular: np.ndarray):
    """As a model gives it: what was learned depends on the last item."""

    def of(key: tf.Tensor, history: tf.Tensor) -> Evidence:
        query = tf.gather(tf.constant(learned, tf.float32), history[:, -1])
        return Evidence(query, tf.eye(SIZES.items), tf.constant(popular, tf.float32), (), history, of_items)

    return of


def drawn(parts, weights: dict[int, float], back: float, count: int) -> Positions:
    """Positions whose targets were drawn by the softmax over known weights."""
    random = np.random.default_rng(0)
    positions = random_sequences(SIZES, count, seed=4).positions()
    batch = next(iter(positions.dataset(len(positions), HISTORY)))
    given = parts(batch["key"], batch["history"])
    learned, popular, history = (np.asarray(part) for part in (given.query, given.popular, given.history))
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


def with_counts(learned: np.ndarray, random: np.random.Generator):
    """Evidence with a few random shares of either kind, some of them of items that were met."""
    popular = np.linspace(-1, 1, SIZES.items)

    def of(key: tf.Tensor, history: tf.Tensor) -> Evidence:
        plain = evidence(learned, popular)(key, history)
        counted = []
        for _ in range(2):
            places = np.argwhere(random.random([len(history), SIZES.items]) < 0.2)
            counted.append(
                SparseScores(tf.constant(places), tf.constant(random.uniform(1, 6, len(places)), tf.float32))
            )
        return plain._replace(counted=tuple(counted))

    return of


def test_what_is_fitted_on_a_shortlist_is_what_the_catalogue_is_scored_by() -> None:
    random = np.random.default_rng(5)
    mixture = Stacking(network=True)
    assert mixture.network is not None
    mixture.network.assign(random.normal(size=len(mixture.network.parameters)))
    mixture.weights_.assign(random.normal(size=len(mixture.weights_.numpy())) * (np.arange(15) != 5))
    batch = next(iter(random_sequences(SIZES, 12, seed=4).positions().dataset(64, HISTORY)))
    given = with_counts(random.normal(size=[40, 40]), random)(batch["key"], batch["history"])
    scores = mixture.mix(given).numpy()
    chosen = tf.constant(np.argsort(random.random(scores.shape), axis=1)[:, :12], tf.int32)
    values, back = looked_up(given, chosen)
    inputs = mixture.given(given, chosen, values, back).numpy()
    say = inputs.any(axis=2)
    own, of_network = mixture.weights_.numpy(), mixture.network.parameters
    shortlisted = values.numpy() @ own[:5] + own[5:][back.numpy()] + forward(of_network, inputs)[0] * say
    np.testing.assert_allclose(shortlisted, np.take_along_axis(scores, chosen.numpy(), 1), rtol=1e-4, atol=1e-4)
    assert 0 < say.mean() < 1
    at = mixture.added(given.counted, given.history, given.of_items).at.numpy()
    assert len(np.unique(at, axis=0)) == len(at), "each place once"


def test_a_new_network_adds_nothing() -> None:
    random = np.random.default_rng(5)
    given = with_counts(random.normal(size=[40, 40]), random)(
        tf.constant([1, 1]), tf.constant([[0, 3], [4, 4]], tf.int64)
    )
    np.testing.assert_allclose(Stacking(network=True).mix(given), Stacking().mix(given), rtol=1e-6)


def test_the_gradient_is_that_of_the_loss() -> None:
    random = np.random.default_rng(6)
    mixture = Stacking(network=True)
    before = mixture.parameters()
    counts, right = np.array([0.5, 1.0, 1.5]), np.array([0, 3, 2])
    inputs = random.normal(size=[3, 4, 18]) * (random.random([3, 4, 1]) < 0.7)
    material = Material(random.normal(size=[3, 4, 5]), random.integers(0, 10, [3, 4]), right, counts, inputs)
    there = before + random.normal(size=len(before)) * (np.arange(len(before)) != 5)
    _, gradient = loss_of(there, material, before)
    for at in random.choice(np.delete(np.arange(len(before)), 5), 60, replace=False):
        step = np.zeros(len(before))
        step[at] = 1e-4
        slope = (loss_of(there + step, material, before)[0] - loss_of(there - step, material, before)[0]) / 2e-4
        assert gradient[at] == pytest.approx(slope, rel=1e-2, abs=2e-4)


def test_a_network_learns_what_a_sum_can_not_say() -> None:
    """Who has met few items comes back to them, who has met many does not."""
    parts = evidence(np.zeros([40, 40]), np.zeros(40))
    positions = random_sequences(SIZES, 900, seed=4).positions()
    short = positions.end - positions.begin < 3
    short_of, long_of = (drawn(parts, {0: 0.0, 1: 0.0}, back, 900).target for back in (4.0, -4.0))
    both = Positions(**{**vars(positions), "target": np.where(short, short_of, long_of)})
    fresh, learned = np.arange(len(both)) % 2 == 0, np.arange(len(both)) % 2 == 1

    def hits(mixture: Stacking) -> float:
        mixture.fit(both.take(np.flatnonzero(learned)), HISTORY, parts, SIZES.first_row, SIZES.items)
        batch = next(iter(both.take(np.flatnonzero(fresh)).dataset(10_000, HISTORY)))
        scores = tf.nn.log_softmax(mixture.mix(parts(batch["key"], batch["history"]))[:, SIZES.first_row :])
        return float(tf.reduce_mean(tf.gather(scores, batch["item"] - SIZES.first_row, batch_dims=1)))

    assert hits(Stacking(network=True)) > hits(Stacking()) + 0.05
