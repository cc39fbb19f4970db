"""Matrix factorization: the fold-in is the least squares solution, and a stranger is served from a history alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.checks.small_data import random_sequences
from trainer.keras2 import tf
from trainer.models import ModelError, build_model
from trainer.models.base import TableSizes
from trainer.models.mf import MatrixFactorization
from trainer.settings import ModelSpec, Policy
from trainer.update import Span, update

SIZES, LENGTH, D = TableSizes(items=14, keys=6, first_row=2), 5, 3
PARAMS = {"dimension": D, "unobserved": 4.0, "regularization": 0.5, "negatives": 50}


def made(seed: int) -> MatrixFactorization:
    model, random = build_model("mf", SIZES, LENGTH, PARAMS), np.random.default_rng(seed)
    assert isinstance(model, MatrixFactorization)
    model.item_embedding.embeddings.assign(random.normal(size=(SIZES.items, D)))
    model.key_embedding.embeddings.assign(random.normal(size=(SIZES.keys, D)))
    model.set_popularity(np.concatenate([[0.0, 0.0], random.integers(0, 9, SIZES.items - 2)]))
    return model


def loss_of_history(model: MatrixFactorization, user: np.ndarray, key: int, history: list[int]) -> float:
    """What the fold-in minimizes, written out."""
    vectors, offsets = model.item_embedding.embeddings.numpy(), model.offset(tf.range(SIZES.items)).numpy()
    scores = vectors @ user + offsets
    others = np.mean(scores[SIZES.first_row :] ** 2)
    ridge = np.sum((user - model.key_embedding.embeddings.numpy()[key]) ** 2)
    return sum((1 - scores[item]) ** 2 + 4.0 * others for item in history) + 0.5 * ridge


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 9), st.integers(1, 5), st.lists(st.integers(2, 13), max_size=LENGTH))
def test_the_fold_in_minimizes_the_loss_of_the_history(seed: int, key: int, history: list[int]) -> None:
    model, padded = made(seed), [0] * (LENGTH - len(history)) + history
    user = model.represent(tf.constant([key], tf.int64), tf.constant([padded], tf.int64)).numpy()[0].astype(float)
    least = loss_of_history(model, user, key, history)
    for step in 1e-2 * np.vstack([np.eye(D), -np.eye(D)]):
        assert loss_of_history(model, user + step, key, history) > least


def test_popularity_is_what_the_loss_says_of_an_item_when_nobody_is_known() -> None:
    model, offsets = made(1), made(1).offset(tf.range(SIZES.items)).numpy()
    counts = model.popularity.counts.numpy()
    for item in range(SIZES.first_row, SIZES.items):
        share = counts[item] / counts.sum()
        at = np.linspace(0, 1, 2001)
        loss = share * (1 - at) ** 2 + 4.0 / (SIZES.items - SIZES.first_row) * at**2
        assert offsets[item] == pytest.approx(at[loss.argmin()], abs=1e-3)
    assert not offsets[: SIZES.first_row].any()


def test_an_event_is_predicted_by_a_popularity_without_it() -> None:
    model = made(2)
    counts = model.popularity.counts.numpy()
    rows = tf.range(SIZES.items)
    without, whole = model.offset(rows, without=1.0).numpy(), model.offset(rows).numpy()
    assert (without[counts >= 1] < whole[counts >= 1]).all()
    assert not without[counts <= 1].any()


def test_strangers_are_told_apart_by_what_they_took_and_known_ones_by_their_rows_too() -> None:
    spec = ModelSpec("mf", PARAMS, LENGTH)
    # Two kinds of items, and keys that take of one kind: keys 2 and 3 the even rows, 4 and 5 the odd ones.
    sequences = random_sequences(SIZES, 80, seed=1)
    owner = np.repeat(sequences.key, np.diff(sequences.splits))
    sequences.items[:] = 2 + 2 * ((sequences.items - 2) // 2) + (owner >= 4)
    policy = Policy(epochs=20, batch_size=32)
    model = update(
        spec, SIZES, [Span(1, sequences)], sequences.positions().take(np.arange(0)), np.ones(14), policy
    ).model

    def odd_over_even(key: int, history: list[int]) -> float:
        scores = model.score_all(tf.constant([key], tf.int64), tf.constant([history], tf.int64)).numpy()[0]
        return float(scores[3::2].mean() - scores[2::2].mean())

    stranger, nothing = 1, [0] * LENGTH
    assert odd_over_even(stranger, [0, 0, 0, 3, 5]) > 0.05
    assert odd_over_even(stranger, [0, 0, 0, 2, 6]) < -0.05
    assert odd_over_even(4, nothing) > odd_over_even(2, nothing) + 0.05


@pytest.mark.parametrize("params", [{"negatives": 0}, {"unobserved": 0.0}, {"regularization": -1.0}])
def test_what_has_no_solution_is_refused(params: dict[str, float]) -> None:
    with pytest.raises(ModelError, match=r"`model.params` must be keyword arguments of mf"):
        build_model("mf", SIZES, LENGTH, params)
