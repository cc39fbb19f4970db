"""What every update policy must do, whichever parts it is made of. A new part is added to `policy_runs.POLICIES`."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.policy_runs import EMPTY, ONLY_NEW_ITEMS, POLICIES, SIZES, SPEC, day, load, run, save
from trainer.stability.replay import ReplayMemory
from trainer.state import ModelState
from trainer.update import TrainingError, Update, rebuild

pytestmark = pytest.mark.parametrize("name", POLICIES)


@pytest.fixture(scope="module")
def firsts() -> dict[str, Update]:
    return {name: run(policy, 0, day(0), None) for name, policy in POLICIES.items()}


@pytest.fixture(scope="module")
def seconds(firsts: dict[str, Update]) -> dict[str, Update]:
    return {name: run(policy, 1, day(1), firsts[name]) for name, policy in POLICIES.items()}


@pytest.fixture(scope="module")
def elsewhere(firsts: dict[str, Update], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a process of its own has made the second update from what the first one saved."""
    folder = tmp_path_factory.mktemp("policies")
    for name, first in firsts.items():
        save(first, folder / name / "first")
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "tests.trainer.policy_runs", str(folder)]
    subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=True, capture_output=True)
    return folder


def assert_same(one: ModelState, other: ModelState) -> None:
    assert dataclasses.replace(one, weights={}, slots={}) == dataclasses.replace(other, weights={}, slots={})
    np.testing.assert_equal(one.weights, other.weights)
    np.testing.assert_equal(one.slots, other.slots)


def assert_same_memory(one: ReplayMemory, other: ReplayMemory) -> None:
    np.testing.assert_equal(dataclasses.asdict(one), dataclasses.asdict(other))


def test_a_second_span_goes_on_where_the_first_ended(name, firsts, seconds):
    first, second = firsts[name], seconds[name]
    assert second.state.learned == (0, 1)
    assert second.state.iterations > first.state.iterations
    assert second.examples > 0
    assert any((second.state.weights[path][: len(old)] != old).any() for path, old in first.state.weights.items())
    assert all(np.isfinite(value).all() for value in second.state.weights.values())


def test_tables_grow_with_the_vocabulary(name, seconds):
    state = seconds[name].state
    assert state.sizes == SIZES[1]
    assert state.weights["item/embeddings"].shape[0] == SIZES[1].items
    assert state.weights["key/embeddings"].shape[0] == SIZES[1].keys
    assert all(len(slot) == SIZES[1].items for slot in state.slots["item/embeddings"].values())


def test_an_empty_span_changes_neither_a_weight_nor_the_memory(name, seconds):
    after = run(POLICIES[name], 2, EMPTY, seconds[name])
    assert after.state.learned == (0, 1, 2)
    assert (after.examples, after.epochs) == (0, 0)
    for path, value in seconds[name].state.weights.items():
        if path != "popularity":
            np.testing.assert_array_equal(after.state.weights[path], value)
    assert_same_memory(after.memory, seconds[name].memory)


def test_a_span_of_only_new_items_is_learned(name, firsts):
    second = run(POLICIES[name], 1, ONLY_NEW_ITEMS, firsts[name])
    assert all(np.isfinite(value).all() for value in second.state.weights.values())
    scores = rebuild(SPEC, second.state).score_all(np.array([3, 9]), np.zeros((2, 6), np.int64)).numpy()
    assert scores.shape == (2, SIZES[1].items)
    assert np.isfinite(scores).all()


def test_the_same_seed_gives_the_same_result(name, firsts, seconds):
    again = run(POLICIES[name], 1, day(1), firsts[name])
    assert_same(again.state, seconds[name].state)
    assert_same_memory(again.memory, seconds[name].memory)
    assert (again.train_loss, again.watched) == (seconds[name].train_loss, seconds[name].watched)


def test_saved_and_loaded_in_a_fresh_process_it_goes_on_the_same(name, elsewhere, seconds):
    state, memory = load(elsewhere / name / "elsewhere")
    assert_same(state, seconds[name].state)
    assert_same_memory(memory, seconds[name].memory)


def test_a_rebuilt_model_answers_as_the_trained_one(name, seconds):
    keys, histories = np.array([2, 5, 9]), np.array([[0, 0, 0, 3, 4, 5], [0, 0, 0, 0, 0, 14], [0] * 6])
    rebuilt = rebuild(SPEC, seconds[name].state)
    np.testing.assert_array_equal(rebuilt.score_all(keys, histories), seconds[name].model.score_all(keys, histories))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_before_training(name, firsts, value):
    span = day(1)
    span.weights[3] = value
    with pytest.raises(TrainingError, match=r"must be a finite number.*span 1"):
        run(POLICIES[name], 1, span, firsts[name])
