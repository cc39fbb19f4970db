"""What every update policy must do, whichever parts it is made of. A new part is added to `policy_runs.POLICIES`."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.policy_runs import EMPTY, ONLY_NEW_ITEMS, POLICIES, SIZES, day, load, run, save
from trainer.stability.replay_memory import ReplayMemory
from trainer.train_state import ModelState
from trainer.update import TrainingError, Update, rebuild

pytestmark = pytest.mark.parametrize("name", POLICIES)


@pytest.fixture(scope="module")
def firsts() -> dict[str, Update]:
    return {name: run(policy, {0: day(0)}, None) for name, policy in POLICIES.items()}


@pytest.fixture(scope="module")
def seconds(firsts: dict[str, Update]) -> dict[str, Update]:
    return {name: run(policy, {1: day(1)}, firsts[name]) for name, policy in POLICIES.items()}


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


def assert_same(left: ModelState, other: ModelState) -> None:
    assert dataclasses.replace(left, weights={}, slots={}) == dataclasses.replace(other, weights={}, slots={})
    np.testing.assert_equal(left.weights, other.weights)
    np.testing.assert_equal(left.slots, other.slots)


def assert_same_memory(left: ReplayMemory, other: ReplayMemory) -> None:
    np.testing.assert_equal(dataclasses.asdict(left), dataclasses.asdict(other))


def assert_finite(state: ModelState) -> None:
    assert all(np.isfinite(value).all() for value in state.weights.values())
    assert all(np.isfinite(value).all() for slots in state.slots.values() for value in slots.values())


def item_table(state: ModelState) -> str:
    return next(path for path in state.slots if path.startswith("item") and path.endswith("/embeddings"))


def test_a_second_span_goes_on_where_the_first_ended(name, firsts, seconds):
    first, second = firsts[name].state, seconds[name].state
    assert second.learned == (0, 1)
    assert second.iterations > first.iterations
    assert seconds[name].examples > 0
    old = first.weights[item_table(first)]
    assert (second.weights[item_table(second)][: len(old)] != old).any()
    assert_finite(second)


def test_tables_grow_with_the_vocabulary(name, seconds):
    state = seconds[name].state
    assert state.sizes == SIZES[1]
    items = item_table(state)
    assert state.weights[items].shape[0] == SIZES[1].items
    assert all(len(slot) == SIZES[1].items for slot in state.slots[items].values())


def test_an_empty_span_changes_neither_a_weight_nor_the_memory(name, seconds):
    after = run(POLICIES[name], {2: EMPTY}, seconds[name])
    assert after.state.learned == (0, 1, 2)
    assert (after.examples, after.epochs) == (0, 0)
    for path in after.state.slots:  # what is learned, not told or counted
        np.testing.assert_array_equal(after.state.weights[path], seconds[name].state.weights[path])
    np.testing.assert_equal(after.state.slots, seconds[name].state.slots)
    assert_same_memory(after.memory, seconds[name].memory)


def test_a_span_of_only_new_items_and_one_that_is_delivered_again_are_learned(name, firsts):
    first = firsts[name]
    after = run(POLICIES[name], {0: day(0), 1: ONLY_NEW_ITEMS}, first)
    assert_finite(after.state)
    new = after.state.weights[item_table(after.state)][12:]
    assert (new != run(POLICIES[name], {1: EMPTY}, first).state.weights[item_table(after.state)][12:]).all()
    # Nothing of the span that came again is remembered twice.
    memory = after.memory
    held = list(zip(memory.span.tolist(), memory.draw.tolist(), strict=True))
    assert len(set(held)) == len(held)
    assert len(held) <= memory.budget
    rebuilt = rebuild(POLICIES[name].spec, after.state)
    keys, histories = np.array([2, 5, 9]), np.array([[0, 0, 0, 3, 4, 5], [0, 0, 0, 0, 0, 14], [0] * 6])
    scores = rebuilt.score_all(keys, histories).numpy()
    assert scores.shape == (3, SIZES[1].items)
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(scores, after.model.score_all(keys, histories))


def test_saved_and_loaded_in_a_fresh_process_the_same_seed_gives_the_same_result(name, elsewhere, seconds):
    state, memory = load(elsewhere / name / "elsewhere")
    assert_same(state, seconds[name].state)
    assert_same_memory(memory, seconds[name].memory)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_before_training(name, firsts, value):
    span = day(1)
    span.weights[3] = value
    with pytest.raises(TrainingError, match=r"must be a finite number.*span 1"):
        run(POLICIES[name], {1: span}, firsts[name])
