"""The sampled softmax stands for the exact one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.checks.small_data import sequences
from trainer.input_pipeline import Sequences
from trainer.keras2 import tf
from trainer.models import build_model, sampled_softmax
from trainer.models.base import Recommender, TableSizes
from trainer.training_batches import make_training_batches

ITEMS, FIRST = 60, 2


def test_candidates_are_the_batch_and_others_each_once() -> None:
    batch = tf.constant([[5, 9, 5, 0], [7, 1, 0, 0]], tf.int64)
    candidates = sampled_softmax.draw(batch, tf.fill([ITEMS], 1 / ITEMS), tf.constant(5.0), ITEMS, FIRST, negatives=20)
    rows = candidates.rows.numpy()
    assert len(set(rows)) == len(rows)
    assert (rows < ITEMS).all()
    assert (rows[candidates.places.numpy()] == batch.numpy()).all()
    unwanted = candidates.log_weight.numpy() == np.float32(sampled_softmax.UNWANTED)
    assert set(rows[unwanted]) == {0, 1}, "padding and out-of-vocabulary rows can't be recommended"


def skewed_span(seed: int = 1) -> Sequences:
    """Sessions of 2 to 7 events of a skewed catalogue, in which people come back to what they have seen."""
    random = np.random.default_rng(seed)
    share = random.dirichlet(np.full(ITEMS - FIRST, 0.3))
    rows = []
    for _ in range(400):
        items = random.choice(np.arange(FIRST, ITEMS), random.integers(2, 8), p=share)
        items[-1] = items[0] if random.random() < 0.5 else items[-1]
        rows.append((1, items.tolist(), int(random.integers(0, 2))))
    return sequences(rows)


def build(name: str, **params: object) -> Recommender:
    model = build_model(name, TableSizes(ITEMS, 3, FIRST), 8, {"dimension": 4, **params})
    model.set_popularity(np.arange(ITEMS, dtype=float))  # of other spans: what is sampled are the batches of this one
    return model


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_the_weights_make_the_sum_over_the_candidates_that_over_the_catalogue(reverse: bool) -> None:
    """Of the batches that training sees: each event counts once, however often a batch holds it."""
    model, value = build("sasrec", negatives=12, reverse=reverse), np.random.default_rng(1).uniform(1, 3, ITEMS)
    estimates = []
    for _ in range(3):
        for batch in make_training_batches(model, skewed_span(), 24, 8, seed=1).data:
            history, item = batch["history"], batch["item"]
            candidates = model._candidates(tf.concat([history, item], axis=1), batch)
            steps, length = tf.where(item > 0), tf.shape(history)[1]
            target = tf.gather_nd(candidates.places[:, length:], steps)
            own = tf.concat([tf.gather(candidates.places, steps[:, 0]), target[:, None]], axis=1)
            score = tf.math.log(tf.gather(tf.constant(value, tf.float32), candidates.rows))
            losses = sampled_softmax.losses(tf.ones([len(steps), 1]), score[:, None], candidates, own, target)
            estimates.append(np.mean(np.exp(losses) * value[tf.gather(candidates.rows, target)]))
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert error < 0.02 * value[FIRST:].sum()
    assert np.mean(estimates) == pytest.approx(value[FIRST:].sum(), abs=3 * error)


def loss_and_gradient(model: Recommender, batches: list) -> tuple[float, np.ndarray]:
    """Means over positions; the gradient of the item vectors."""
    loss, gradient, positions = 0.0, np.zeros(model.item_embedding.embeddings.shape), 0
    for batch in batches:
        count = int(np.count_nonzero(batch["item"]))
        with tf.GradientTape() as tape:
            of_batch = model.compute_loss(batch, training=True)
        slices = tape.gradient(of_batch, model.item_embedding.embeddings)
        loss, positions = loss + count * float(of_batch), positions + count
        gradient += count * tf.convert_to_tensor(slices).numpy()
    return loss / positions, gradient / positions


def test_loss_and_gradient_of_the_transformer_are_those_of_the_full_softmax() -> None:
    # At a temperature at which the logarithm of a mean is near the mean of logarithms.
    plain = {"dropout": 0.0, "item_dropout": 0.0, "neighbours": 0, "temperature": 0.5}
    exact, sampled = build("sasrec", negatives=ITEMS, **plain), build("sasrec", negatives=20, **plain)
    for variable, other in zip(exact.trainable_variables, sampled.trainable_variables, strict=True):
        other.assign(variable)
    batches = list(make_training_batches(exact, skewed_span(), 60, 8, seed=1).data)
    expected, gradient = loss_and_gradient(exact, batches)
    loss, sampled_gradient = loss_and_gradient(sampled, batches)
    assert loss == pytest.approx(expected, rel=0.01)
    along = np.sum(sampled_gradient * gradient) / np.sum(np.square(gradient))
    assert along == pytest.approx(1.0, abs=0.05)
    assert np.linalg.norm(sampled_gradient - gradient) < 0.2 * np.linalg.norm(gradient), "what the draws leave"


def test_the_rate_says_how_often_windows_hold_an_item() -> None:
    items, owner = np.array([3, 3, 4, 4, 5, 0, 1]), np.array([0, 0, 0, 1, 1, 2, 3])
    rate = sampled_softmax.sampling_rate(items, owner, 4, 7, FIRST)
    # A window holds one of the items on average: 3 one of four, 4 two, 5 one.
    np.testing.assert_allclose(np.exp(-1.0 * rate), [1, 1, 1, 0.75, 0.5, 0.75, 1], rtol=1e-5)
    assert not sampled_softmax.sampling_rate(np.zeros(0, np.int64), np.zeros(0, np.int64), 0, 7, FIRST).any()


def test_what_the_others_hold_counts_an_item_of_a_row_once_and_leaves_a_row_out() -> None:
    rows = tf.constant([[3, 4, 3, 0], [1, 0, 0, 0], [5, 6, 7, 7]], tf.int64)
    assert float(sampled_softmax.held_by_others(rows, FIRST)) == pytest.approx(5 * 2 / 3)
    assert float(sampled_softmax.held_by_others(rows[:1], FIRST)) == 0


def test_over_the_whole_catalogue_the_loss_is_exact() -> None:
    random = np.random.default_rng(2)
    scores = tf.constant(random.normal(size=[4, ITEMS]), tf.float32)
    target = tf.constant([5, 2, 59, 30], tf.int64)
    batch = target[:, None]
    whole = sampled_softmax.whole_catalogue(batch, ITEMS, FIRST)
    losses = sampled_softmax.losses(scores, tf.eye(ITEMS), whole, batch, target)
    exact = tf.nn.sparse_softmax_cross_entropy_with_logits(target - FIRST, scores[:, FIRST:])
    np.testing.assert_allclose(losses, exact, rtol=1e-5)


def test_what_a_position_holds_anyway_stands_for_itself_alone() -> None:
    rows = tf.constant([4, 5, 6], tf.int64)
    candidates = sampled_softmax.Candidates(rows, tf.constant([2.0, 2.0, 2.0]), rows)
    certain, target = tf.constant([[0, 1]], tf.int64), tf.constant([0], tf.int64)
    loss = sampled_softmax.losses(tf.zeros([1, 3]), tf.eye(3), candidates, certain, target)
    assert float(loss[0]) == pytest.approx(np.log(1 + 1 + np.e**2), rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 12), st.integers(1, 5), st.floats(0.1, 60.0))
def test_value_and_gradients_are_those_of_the_cross_entropy_of_weighed_scores(
    seed: int, positions: int, count: int, held: int, length: float
) -> None:
    """However long the queries: a score of a model that has learned a session is far above the others."""
    random = np.random.default_rng(seed)
    queries = tf.math.l2_normalize(tf.constant(random.normal(size=[positions, 4]), tf.float32), axis=1) * length
    vectors = tf.math.l2_normalize(tf.constant(random.normal(size=[count, 4]), tf.float32), axis=1)
    target = tf.constant(random.integers(0, count, positions))
    log_weight = tf.where(random.random(count) < 0.2, sampled_softmax.UNWANTED, random.normal(2, 2, count))
    log_weight = tf.cast(tf.tensor_scatter_nd_update(log_weight, target[:, None], np.full(positions, 3.0)), tf.float32)
    candidates = sampled_softmax.Candidates(tf.range(count, dtype=tf.int64), log_weight, target)
    # What a position holds may come twice, and be its target.
    certain = tf.concat([random.integers(0, count, [positions, held]), target[:, None]], axis=1)
    upstream = tf.constant(random.normal(size=positions), tf.float32)

    def expected(queries: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
        weight = np.repeat(log_weight.numpy()[None], positions, axis=0)
        for position, places in enumerate(certain.numpy()):
            weight[position, places] = np.minimum(log_weight.numpy()[places], 0)
        logits = tf.matmul(queries, vectors, transpose_b=True) + weight
        return tf.nn.sparse_softmax_cross_entropy_with_logits(target, logits)

    results = []
    for function in (expected, lambda *sides: sampled_softmax.losses(*sides, candidates, certain, target)):
        with tf.GradientTape() as tape:
            tape.watch([queries, vectors])
            losses = function(queries, vectors)
        results.append((losses, *tape.gradient(losses, [queries, vectors], upstream)))
    for value, of_ours in zip(*results, strict=True):
        np.testing.assert_allclose(of_ours, value, rtol=1e-4, atol=2e-5 * length)
