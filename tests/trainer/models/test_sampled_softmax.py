"""The sampled softmax stands for the exact one."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.keras2 import tf
from trainer.models import sampled_softmax

ITEMS, FIRST = 60, 2


def test_candidates_are_the_batch_and_others_each_once() -> None:
    batch = tf.constant([[5, 9, 5, 0], [7, 1, 0, 0]], tf.int64)
    candidates = sampled_softmax.draw(batch, tf.fill([ITEMS], 1 / ITEMS), ITEMS, FIRST, negatives=20)
    rows = candidates.rows.numpy()
    assert len(set(rows)) == len(rows)
    assert (rows < ITEMS).all()
    assert (rows[candidates.places.numpy()] == batch.numpy()).all()
    unwanted = candidates.log_weight.numpy() == np.float32(sampled_softmax.UNWANTED)
    assert set(rows[unwanted]) == {0, 1}, "padding and out-of-vocabulary rows can't be recommended"


def test_the_weights_make_the_sum_over_the_candidates_that_over_the_catalogue() -> None:
    random = np.random.default_rng(1)
    share = random.dirichlet(np.full(ITEMS - FIRST, 0.3))
    value = random.uniform(1, 3, ITEMS)
    sums = []
    for _ in range(400):
        batch = random.choice(np.arange(FIRST, ITEMS), 12, p=share)
        candidates = sampled_softmax.draw(
            tf.constant(batch), tf.constant(np.concatenate([[0, 0], share]), tf.float32), ITEMS, FIRST, negatives=15
        )
        sums.append(float(np.sum(np.exp(candidates.log_weight.numpy()) * value[candidates.rows.numpy()])))
    error = np.std(sums) / np.sqrt(len(sums))
    assert np.mean(sums) == pytest.approx(value[FIRST:].sum(), abs=4 * error)


def test_over_the_whole_catalogue_the_loss_is_exact() -> None:
    random = np.random.default_rng(2)
    scores = tf.constant(random.normal(size=[4, ITEMS]), tf.float32)
    target = tf.constant([5, 2, 59, 30], tf.int64)
    batch = target[:, None]
    losses = sampled_softmax.losses(scores, sampled_softmax.whole_catalogue(batch, ITEMS, FIRST), batch, target)
    exact = tf.nn.sparse_softmax_cross_entropy_with_logits(target - FIRST, scores[:, FIRST:])
    np.testing.assert_allclose(losses, exact, rtol=1e-5)


def test_what_a_position_holds_anyway_stands_for_itself_alone() -> None:
    rows = tf.constant([4, 5, 6], tf.int64)
    candidates = sampled_softmax.Candidates(rows, tf.constant([2.0, 2.0, 2.0]), rows)
    loss = sampled_softmax.losses(
        tf.zeros([1, 3]), candidates, tf.constant([[0, 1]], tf.int64), tf.constant([0], tf.int64)
    )
    assert float(loss[0]) == pytest.approx(np.log(1 + 1 + np.e**2), rel=1e-6)
