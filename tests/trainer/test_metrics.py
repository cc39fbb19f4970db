"""Ranks and ranking metrics, held against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.keras2 import tf
from trainer.metrics import UNAVAILABLE, mask_scores, rank_of, ranking_metrics, weighted_mean

FIRST_ROW = 3


@st.composite
def questions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores [b, rows] with many ties, seen rows [b, h] and targets [b], both also out of vocabulary and too large."""
    batch, rows, length = draw(st.integers(1, 4)), draw(st.integers(FIRST_ROW + 1, 12)), draw(st.integers(0, 5))
    some = st.sampled_from([-2.0, 0.0, 0.5, 1.0, 7.0])
    scores = [[draw(some) for _ in range(rows)] for _ in range(batch)]
    seen = [[draw(st.integers(0, rows + 2)) for _ in range(length)] for _ in range(batch)]
    target = [draw(st.integers(0, rows + 2)) for _ in range(batch)]
    return np.array(scores, np.float32), np.array(seen, np.int64).reshape(batch, length), np.array(target, np.int64)


def rank_by_loop(scores: np.ndarray, seen: set[int], target: int) -> int:
    if not FIRST_ROW <= target < len(scores):
        return len(scores)
    others = [row for row in range(FIRST_ROW, len(scores)) if row != target and row not in seen]
    return sum(scores[row] >= scores[target] for row in others)


@given(questions(), st.booleans())
def test_a_rank_counts_the_items_that_score_at_least_as_high(question: tuple, exclude: bool) -> None:
    scores, seen, target = question
    masked = mask_scores(scores, FIRST_ROW, tf.constant(seen) if exclude else None, keep=tf.constant(target))
    ranks = rank_of(masked, tf.constant(target), FIRST_ROW).numpy()
    for index, rank in enumerate(ranks):
        assert rank == rank_by_loop(scores[index], set(seen[index]) if exclude else set(), target[index])


@given(questions())
def test_a_mask_takes_out_padding_unknown_and_seen_rows_and_nothing_else(question: tuple) -> None:
    scores, seen, target = question
    for keep in (None, target):
        masked = mask_scores(scores, FIRST_ROW, tf.constant(seen), None if keep is None else tf.constant(keep)).numpy()
        for index in range(len(scores)):
            gone = {*range(FIRST_ROW), *seen[index]} - (
                set() if keep is None else {keep[index]} - set(range(FIRST_ROW))
            )
            for row, score in enumerate(scores[index]):
                assert masked[index, row] == (np.float32(UNAVAILABLE) if row in gone else score)


def test_without_a_history_only_rows_below_the_first_are_taken_out() -> None:
    masked = mask_scores(tf.zeros([2, 5]), FIRST_ROW).numpy()
    assert (masked == 0).tolist() == [[False] * 3 + [True] * 2] * 2


@given(st.lists(st.integers(0, 30), min_size=1, max_size=20), st.integers(1, 25))
def test_metrics_of_a_rank_are_the_textbook_ones(ranks: list[int], k: int) -> None:
    metrics = {name: value.numpy() for name, value in ranking_metrics(tf.constant(ranks, tf.int64), k).items()}
    assert set(metrics) == {"recall", "ndcg", "mrr"}
    for at, rank in enumerate(ranks):
        # One relevant item: the ideal gain is 1, so the normalised one is that of its place.
        gains = [1.0 / math.log2(place + 2) if place == rank else 0.0 for place in range(k)]
        assert metrics["recall"][at] == float(rank < k)
        assert metrics["ndcg"][at] == pytest.approx(sum(gains), rel=1e-6)
        assert metrics["mrr"][at] == pytest.approx(1 / (rank + 1) if rank < k else 0.0, rel=1e-6)


def test_one_score_for_all_earns_the_worst_rank() -> None:
    assert rank_of(tf.ones([2, 7]), tf.constant([3, 6], tf.int64), 1).numpy().tolist() == [6, 6]


def test_a_score_that_is_no_number_earns_nothing() -> None:
    scores = tf.constant([[0.0, math.nan, math.nan, 1.0], [0.0, 2.0, math.nan, 1.0]])
    ranks = rank_of(mask_scores(scores, 1), tf.constant([1, 1], tf.int64), 1).numpy().tolist()
    assert ranks == [3, 1]
    everywhere = rank_of(tf.fill([1, 9], math.nan), tf.constant([4], tf.int64), 1)
    assert ranking_metrics(everywhere, 3)["recall"].numpy() == 0


def test_a_weight_below_0_counts_as_0_in_a_mean():
    values = tf.constant([1.0, 5.0, 100.0])
    assert float(weighted_mean(values, tf.constant([3.0, 1.0, -9.0]))) == 2
    assert float(weighted_mean(values, tf.constant([0.0, -1.0, 0.0]))) == 0
