"""The contrastive loss: which texts a batch needs, which count as negatives, and how popular ones are made up for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.encoders.made_sessions import made_span, made_texts
from trainer.encoders.contrastive import as_batch, loss, loss_over_all, share_of_each
from trainer.encoders.text_positions import NONE, ItemTexts, TextPositions, sampled, text_positions
from trainer.input_pipeline import Positions
from trainer.keras2 import tf

TEXTS = ("a", "b", "c", "d")


def positions_of(history: list[list[int]], target: list[int]) -> TextPositions:
    return TextPositions(TEXTS, np.array(history, np.int64), np.array(target, np.int64))


def test_a_batch_has_each_text_once_and_what_came_in_front():
    batch = as_batch(positions_of([[NONE, 3], [2, 0], [1, 1]], [2, 1, 2]), np.array([0, 1, 2, 0]) / 3)
    assert batch.texts.tolist() == [1, 2, 0, 3]
    assert batch.target.tolist() == [1, 0, 1]
    assert batch.mix.tolist() == [[0, 0, 0, 1], [0, 0.5, 0.5, 0], [1, 0, 0, 0]]
    assert batch.before.tolist() == [[False, False], [False, True], [True, False]]
    assert np.exp(batch.log_probs) == pytest.approx([1 - (2 / 3) ** 3, 1 - (1 / 3) ** 3])


def test_how_probable_a_text_is_to_be_in_a_batch_is_what_is_drawn():
    rng, share = np.random.default_rng(1), np.array([0.6, 0.3, 0.08, 0.02])
    drawn = rng.choice(4, [20_000, 8], p=share)
    seen = np.array([(drawn == text).any(axis=1).mean() for text in range(4)])
    batch = as_batch(positions_of([[NONE, 0]] * 8, [1, 2, 3, 1, 1, 1, 1, 1]), share)
    assert np.exp(batch.log_probs) == pytest.approx(seen[1:], abs=0.01)


def test_the_loss_is_that_of_its_formula():
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(4, 5)).astype(np.float32)
    positions = positions_of([[NONE, 3], [2, 0], [1, 1]], [2, 1, 2])
    batch = as_batch(positions, share_of_each(positions))
    got = loss(
        tf.constant(vectors[batch.texts]), *map(tf.constant, (batch.mix, batch.target, batch.log_probs, batch.before)),
        0.5,
    ).numpy()  # fmt: skip
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    asked = np.stack([unit[3], (unit[2] + unit[0]) / 2, unit[1]])
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    candidates, log_probs = unit[[1, 2]], np.log([1 - (2 / 3) ** 3, 1 - (1 / 3) ** 3])
    scores = asked @ candidates.T / 0.5 - log_probs
    expected = [
        np.log(np.exp(scores[0]).sum()) - scores[0, 1],
        0.0,  # the other candidate is what the key had before
        0.0,
    ]
    assert got == pytest.approx(np.mean(expected), rel=1e-5)


def test_over_all_texts_nothing_is_made_up_for():
    positions = positions_of([[NONE, 3], [NONE, 0], [NONE, 3]], [2, 1, 2])
    vectors = np.eye(4, dtype=np.float32)
    assert loss_over_all(positions, vectors, 1.0) == pytest.approx(np.log(2))
    near = vectors.copy()
    near[2] = near[3]
    assert loss_over_all(positions, near, 1.0) < np.log(2)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_positions_are_pairs_of_texts_that_are_told_apart(data):
    codes = np.array(data.draw(st.lists(st.integers(NONE, 3), min_size=5, max_size=5)), np.int64)
    span = made_span(data.draw(st.integers(0, 9)), 3, range(2), length=2)
    rows = span.items % 5
    length = data.draw(st.integers(1, 4))
    positions = Positions(
        rows, np.zeros(6, np.int64), np.arange(6), np.zeros(6, np.int64), rows,
        np.ones(6, np.float32), np.zeros(6, np.int64),
    )  # fmt: skip
    pairs = text_positions(positions, ItemTexts(TEXTS, codes), length)
    expected = []
    for at in range(6):
        before = [code for code in codes[rows[max(0, at - length) : at]] if code != NONE]
        if codes[rows[at]] != NONE and before and codes[rows[at]] not in before:
            expected.append((sorted(before), codes[rows[at]]))
    assert [
        (sorted(row[row != NONE].tolist()), target) for row, target in zip(pairs.history, pairs.target, strict=True)
    ] == expected


def test_of_too_many_positions_the_same_ones_are_drawn():
    positions = text_positions(made_span(1, 30, range(20)).positions(), made_texts(20), 3)
    few = sampled(positions, 10, 4)
    assert len(few) == 10
    assert few.target.tolist() == sampled(positions, 10, 4).target.tolist() != sampled(positions, 10, 5).target.tolist()
    assert sampled(positions, len(positions), 4) is positions
