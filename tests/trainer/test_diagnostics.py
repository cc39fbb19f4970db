"""Figures of a model that need no label, against what a loop over all items says."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.small_model import HISTORY, SMALL
from trainer.checks.small_data import held_out
from trainer.diagnostics import (
    Diagnostics,
    beyond_accuracy,
    churn,
    histogram,
    last_position_per_key,
    measure,
    nearest,
    recommend,
    vectors,
)
from trainer.models import build_model
from trainer.models.base import TableSizes
from trainer.train_state import named_variables

SIZES = TableSizes(items=22, keys=9, first_row=2)


def model_and_weights(seed: int = 1):
    model = build_model(SMALL, SIZES, HISTORY, {})
    random = np.random.default_rng(seed)
    variables = named_variables(model)
    for variable in variables.values():
        variable.assign(random.normal(size=variable.shape))
    return model, {path: variable.numpy() for path, variable in variables.items()}


def by_loop(table: np.ndarray, row: int, k: int) -> set[int]:
    def cosine(other: int) -> float:
        return float(table[row] @ table[other] / np.linalg.norm(table[row]) / np.linalg.norm(table[other]))

    return set(
        sorted((row_number for row_number in range(len(table)) if row_number != row), key=cosine, reverse=True)[:k]
    )


def test_the_nearest_are_those_of_a_loop():
    table = np.random.default_rng(0).normal(size=(40, 5))
    rows = np.array([0, 7, 39])
    assert [set(neighbours) for neighbours in nearest(table, rows, 10)] == [by_loop(table, row, 10) for row in rows]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.floats(0.1, 9.0))
def test_what_is_turned_and_stretched_has_the_same_neighbours(seed, stretch):
    random = np.random.default_rng(seed)
    table = random.normal(size=(30, 4))
    turn, _ = np.linalg.qr(random.normal(size=(4, 4)))
    assert churn(table, table @ turn * stretch)["neighbours/churn"] == 0
    assert 0 <= churn(table, random.normal(size=(35, 4)))["neighbours/churn"] <= 1


def test_churn_is_the_share_of_neighbours_that_changed_among_items_of_both_days():
    random = np.random.default_rng(3)
    before, after = random.normal(size=(25, 4)), random.normal(size=(32, 6))
    wanted = np.mean([1 - len(by_loop(before, row, 10) & by_loop(after[:25], row, 10)) / 10 for row in range(25)])
    assert churn(before, after) == {"neighbours/churn": pytest.approx(wanted), "neighbours/items": 25}
    assert churn(before[:1], after) == {}


def test_the_sample_stays_while_the_table_grows():
    first, other = (set(np.argsort(np.random.default_rng(0).random(n), kind="stable")[:200]) for n in (5_000, 5_050))
    assert len(first & other) > 190


def test_coverage_gini_and_popularity_of_lists_counted_by_hand():
    recent = np.array([0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0])  # five items, the last the most popular
    figures = beyond_accuracy(np.array([[6, 5], [6, -1]]), np.array([2, 1]), recent, 2)
    assert figures == {
        "recommended/coverage": 2 / 5,
        "recommended/distinct_items": 2,
        "recommended/gini": pytest.approx((2 * 1 / 3 + 4 * 2 / 3) / 4),
        "recommended/users": 2,
        "recommended/popularity_percentile": pytest.approx((1 + 0.75 + 1) / 3),
        "held_out/popularity_percentile": 0.0,
    }
    even, always = np.arange(2, 7)[:, None], np.full((4, 1), 3)
    assert beyond_accuracy(even, np.array([2]), recent, 2)["recommended/gini"] == 0
    assert beyond_accuracy(always, np.array([2]), recent, 2)["recommended/gini"] == 1
    there = np.array([True, True, False, False, False])
    assert beyond_accuracy(np.array([[2, 3]]), np.array([2]), recent, 2, there)["recommended/coverage"] == 1
    assert beyond_accuracy(np.full((1, 2), -1), np.array([2]), recent, 2) == {}


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_lists_and_ranks_are_those_of_a_loop(exclude_seen):
    model, _ = model_and_weights()
    positions = held_out(SIZES, 60, seed=4)
    available = np.random.default_rng(5).random(SIZES.items - 2) > 0.2
    lists, ranks = recommend(model, positions, 4, exclude_seen, available)
    wanted = []
    for at in range(len(positions)):
        history = positions.items[positions.begin[at] : positions.end[at]][-HISTORY:]
        padded = np.concatenate([np.zeros(HISTORY - len(history), np.int64), history])[None]
        scores = model.score_all(positions.key[at : at + 1], padded).numpy()[0]
        target = positions.target[at]
        out = set(history.tolist()) if exclude_seen else set()
        shown = [row for row in range(2, SIZES.items) if available[row - 2] and row not in out]
        best = sorted(shown, key=lambda row: -scores[row])[:4]
        assert set(lists[at]) - {-1} == set(best)
        wanted.append(sum(scores[row] >= scores[target] for row in shown if row != target))
    assert ranks.tolist() == wanted


def test_of_each_user_the_last_position_is_looked_at_and_of_strangers_all():
    positions = held_out(SIZES, 8, seed=1)
    positions = dataclasses.replace(positions, key=np.array([3, 1, 3, 4, 1, 4, 4, 5]))
    assert last_position_per_key(positions, 2).target.tolist() == positions.target[[1, 2, 4, 6, 7]].tolist()
    assert len(last_position_per_key(positions, 2, most=3)) == 3
    assert len(last_position_per_key(positions.take(np.zeros(0, np.int64)), 2)) == 0


def test_a_model_is_measured_and_what_can_not_be_is_left_out(tmp_path: Path):
    model, weights = model_and_weights()
    _, before = model_and_weights(2)
    before = {path: value[:12] if value.shape[:1] == (22,) else value[:7] for path, value in before.items()}
    recent = np.concatenate([np.zeros(2), np.arange(20.0)])
    diagnostics = measure(model, weights, before, held_out(SIZES, 30, seed=2), recent, k=5, exclude_seen=True)
    lengths = np.linalg.norm(weights["item/embeddings"][2:], axis=1)
    assert diagnostics.numbers["norms/items/old/mean"] == pytest.approx(lengths[:10].mean())
    assert diagnostics.numbers["norms/items/new/p50"] == pytest.approx(np.median(lengths[10:]))
    assert diagnostics.numbers["neighbours/items"] == 10
    assert {"norms/keys/new/mean", "recommended/coverage", "held_out/median_rank"} <= set(diagnostics.numbers)
    for name, count in (("norms/items", 20), ("norms/keys", 7)):
        assert sum(bucket[2] for bucket in diagnostics.histograms[name]) == count
    diagnostics.save(tmp_path / "health.json")
    assert Diagnostics.load(tmp_path / "health.json") == Diagnostics(
        dict(diagnostics.numbers), dict(diagnostics.histograms)
    )

    broken = {path: np.full_like(value, np.nan) for path, value in weights.items()}
    nothing = measure(model, broken, None, held_out(SIZES, 0, seed=2), recent, k=5, exclude_seen=True)
    assert nothing.numbers == {}
    json.loads(json.dumps(dataclasses.asdict(nothing), allow_nan=False))


def test_a_table_of_vectors_is_found_and_one_of_numbers_is_not():
    tables = {"bias": "items", "item": "items", "key": "keys"}
    weights = {"bias": np.zeros(4), "item/embeddings": np.zeros((4, 3)), "items": np.zeros((4, 2))}
    assert vectors(tables, weights, "items")[0] == "item/embeddings"
    assert vectors(tables, weights, "keys") is None


def test_a_histogram_counts_every_finite_value():
    counts = histogram(np.array([1.0, 1.0, 2.0, np.nan, 5.0]))
    assert sum(bucket[2] for bucket in counts) == 4
    assert (counts[0][0], counts[-1][1]) == (1.0, 5.0)
