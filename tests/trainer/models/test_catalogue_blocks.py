"""What is found block by block is what the scores of the whole catalogue say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.checks.small_data import held_out, random_sequences
from trainer.keras2 import tf
from trainer.metrics import mask_scores, rank_of
from trainer.models import build_model, catalogue_blocks, position_pieces
from trainer.models.base import Recommender, TableSizes
from trainer.models.catalogue_blocks import SparseScores
from trainer.models.frozen_items import FrozenItems
from trainer.models.rank_in_blocks import rank_within
from trainer.models.softmax_in_blocks import softmax_losses

FIRST_ROW, LENGTH = 2, 5
SIZES = TableSizes(items=40, keys=9, first_row=FIRST_ROW)
MODELS = {
    "two_tower": {"dimension": 8},
    "mf": {"dimension": 8},
    "sasrec": {"dimension": 8, "neighbours": 3},
    "hstu": {"dimension": 8, "neighbours": 0},
}


@dataclasses.dataclass(frozen=True)
class Question:
    """Small whole numbers, so that sums are exact and ties are many."""

    items: FrozenItems
    query: tf.Tensor
    added: SparseScores | None
    seen: tf.Tensor | None
    target: tf.Tensor
    size: int
    k: int

    def scores(self) -> tf.Tensor:
        scores = self.items.scores(self.query)
        return scores if self.added is None else tf.tensor_scatter_nd_add(scores, *self.added)


@st.composite
def questions(draw: st.DrawFn) -> Question:
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    size, width, batch = draw(st.integers(FIRST_ROW + 1, 40)), draw(st.integers(1, 3)), draw(st.integers(1, 6))
    scale = tf.constant(random.integers(1, 3, size), tf.float32) if draw(st.booleans()) else None
    table = tf.Variable(random.integers(-2, 3, (size, width)).astype(np.float32))
    count = draw(st.integers(0, 30))
    at = np.stack([random.integers(0, batch, count), random.integers(0, size, count)], axis=1)
    added = SparseScores(tf.constant(at, tf.int64), tf.constant(random.integers(-3, 4, count), tf.float32))
    seen = tf.constant(random.integers(0, size, (batch, draw(st.integers(0, 5)))), tf.int64)
    return Question(
        FrozenItems(table, tf.constant(random.integers(-1, 2, size), tf.float32), scale),
        tf.constant(random.integers(-2, 3, (batch, width + 1)), tf.float32),
        added if draw(st.booleans()) else None,
        seen if draw(st.booleans()) else None,
        tf.constant(random.integers(0, size + 2, batch), tf.int64),
        size,
        draw(st.integers(1, 8)),
    )


@settings(max_examples=60)
@given(questions(), st.integers(1, 60))
def test_a_rank_below_k_is_that_among_all_scores(question: Question, cells: int) -> None:
    ask = question
    masked = mask_scores(ask.scores(), FIRST_ROW, ask.seen, keep=ask.target)
    right = rank_of(masked, ask.target, FIRST_ROW).numpy()
    rank = rank_within(
        ask.items, ask.query, ask.added, ask.seen, ask.target, FIRST_ROW, ask.size, ask.k, cells=cells
    ).numpy()
    assert np.minimum(rank, ask.k).tolist() == np.minimum(right, ask.k).tolist()


@settings(max_examples=40)
@given(questions(), st.integers(1, 60))
def test_a_softmax_is_that_over_all_scores(question: Question, cells: int) -> None:
    ask = question
    target = tf.clip_by_value(ask.target, FIRST_ROW, ask.size - 1)
    right = tf.nn.sparse_softmax_cross_entropy_with_logits(target, mask_scores(ask.scores(), FIRST_ROW))
    losses = softmax_losses(ask.items, ask.query, ask.added, target, FIRST_ROW, ask.size, cells=cells)
    np.testing.assert_allclose(losses.numpy(), right.numpy(), rtol=1e-5, atol=1e-5)


def _noise(items: int, width: int = 64) -> tuple[np.ndarray, tf.Tensor]:
    random = np.random.default_rng(1)
    query = tf.constant(random.normal(size=(30, width + 1)), tf.float32)
    return random.normal(size=(items, width)).astype(np.float32), query


def test_items_of_one_vector_are_ties_in_whatever_order_their_products_are_summed_up() -> None:
    table, query = _noise(400)
    table[100:131] = table[100]
    items, target = FrozenItems(tf.Variable(table), tf.zeros([400])), tf.fill([30], tf.constant(115, tf.int64))
    rank = rank_within(items, query, None, None, target, FIRST_ROW, 400, k=400, cells=30 * 7)
    assert (rank.numpy() >= 30).all()
    np.testing.assert_array_equal(rank, rank_of(mask_scores(items.scores(query), FIRST_ROW), target, FIRST_ROW))


def test_what_is_no_number_is_ahead() -> None:
    table, query = _noise(50)
    table[[7, 30]] = np.nan
    items = FrozenItems(tf.Variable(table), tf.zeros([50]))
    best = tf.math.top_k(tf.where(tf.math.is_nan(scores := items.scores(query)), -np.inf, scores)[:, FIRST_ROW:], 1)
    target = tf.cast(best.indices[:, 0], tf.int64) + FIRST_ROW
    assert rank_within(items, query, None, None, target, FIRST_ROW, 50, k=9, cells=30).numpy().tolist() == [2] * 30
    of_nothing = rank_within(items, query * np.nan, None, None, target, FIRST_ROW, 50, k=9, cells=30)
    assert (of_nothing.numpy() >= 9).all()


def trained(name: str) -> tuple[Recommender, dict[str, tf.Tensor]]:
    tf.random.set_seed(1)
    model = build_model(name, SIZES, LENGTH, MODELS[name])
    random = np.random.default_rng(2)
    for variable in model.trainable_variables:
        variable.assign_add(random.normal(size=variable.shape) * 0.3)
    model.set_popularity(np.concatenate([[0.0, 0.0], random.integers(0, 9, SIZES.items - 2)]))
    model.observe(random_sequences(SIZES, 30, seed=3))
    if name in ("sasrec", "hstu"):
        model.mixture.weights_.assign(random.normal(size=model.mixture.weights_.shape))
    return model, next(iter(held_out(SIZES, 24, seed=4).dataset(24, LENGTH)))


@pytest.mark.parametrize("count", [1, 24])
def test_what_needs_all_scores_at_once_is_asked_of_a_few_positions_at_a_time(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tf.random.set_seed(1)
    model = build_model("ranking", SIZES, LENGTH, {"dimension": 4, "hidden": [4, 4], "objective": "click"})
    batch = next(iter(held_out(SIZES, 24, seed=4).dataset(24, LENGTH)))
    columns = [batch[column][:count] for column in ("key", "history", "item", "weight")]
    asked: list[int] = []
    score_all = type(model).score_all

    def noting(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        asked.append(len(key))
        return score_all(self, key, history)

    at_once = model.evaluate_positions(*columns, k=6, exclude_seen=True)
    monkeypatch.setattr(catalogue_blocks, "AT_ONCE", 1)
    monkeypatch.setattr(position_pieces, "CELLS", 7 * SIZES.items)
    monkeypatch.setattr(type(model), "score_all", noting)
    in_pieces = model.evaluate_positions(*columns, k=6, exclude_seen=True)
    assert in_pieces.keys() == at_once.keys() == {"auc"}
    np.testing.assert_array_equal(in_pieces["auc"], at_once["auc"])
    assert asked == {1: [1], 24: [7, 7, 7, 3]}[count]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("frozen", [False, True], ids=["live", "frozen"])
def test_a_large_catalogue_has_the_losses_and_metrics_of_a_small_one(
    name: str, frozen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch = trained(name)
    if frozen:
        model.freeze()
    columns = [batch[column] for column in ("key", "history", "item", "weight")]

    def answers() -> dict[str, np.ndarray]:
        metrics = {
            f"{metric} {seen}": values.numpy()
            for seen in (False, True)
            for metric, values in model.evaluate_positions(*columns, k=15, exclude_seen=seen).items()
        }
        return {**metrics, "loss": model.compute_loss(batch).numpy()}

    at_once = answers()
    monkeypatch.setattr(catalogue_blocks, "AT_ONCE", 1)
    monkeypatch.setattr(catalogue_blocks, "_MOST", 7)
    in_blocks = answers()
    assert in_blocks.keys() == at_once.keys()
    for metric, values in at_once.items():
        np.testing.assert_allclose(in_blocks[metric], values, rtol=1e-4, atol=1e-6, err_msg=metric)
    assert 0 < at_once["recall True"].mean() < 1
    monkeypatch.setattr(type(model), "score_all", None)  # and not by the way of the small catalogue
    answers()
