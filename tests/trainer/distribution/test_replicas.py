"""Replicas that share a step learn what a single one learns: losses, means, negatives, old days, clipping and slots."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer.distribution.two_devices import OPERATIONS, STEPS, WITH_PARTS
from trainer.distribution import says_shares
from trainer.keras2 import tf
from trainer.models import BUILT_IN, find_model
from trainer.models.two_tower import TwoTower
from trainer.replicas import across, everyones, is_shared, replicas, shared_step


def on_two_devices(file: Path, *names: str) -> dict[str, Any]:
    """What a process with two devices wrote."""
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-m", "tests.trainer.distribution.two_devices", str(file), *names]
    subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=True, capture_output=True)
    return json.loads(file.read_text())


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return on_two_devices(tmp_path_factory.mktemp("devices") / "results.json", *OPERATIONS, "plain", *STEPS)


def expect_the_same_update(name: str, results: dict[str, Any]) -> None:
    assert results[name] < 1e-4 < results[f"{name}, moved"]
    alone, shared = results[f"{name}, counted"]
    assert alone[:2] == shared[:2]
    assert shared[2:] == pytest.approx(alone[2:], rel=1e-4)


@pytest.mark.slow
def test_an_update_on_two_replicas_is_that_of_a_process_without_any(results):
    expect_the_same_update("plain", results)


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_two_replicas_make_the_steps_of_a_single_one(name, results):
    assert results[name] < 1e-4


@pytest.mark.slow
@pytest.mark.exhaustive
def test_with_all_parts_that_keep_old_days_they_do_too(tmp_path):
    results = on_two_devices(tmp_path / "results.json", "all together", WITH_PARTS)
    expect_the_same_update("all together", results)
    assert results[WITH_PARTS] < 1e-4


@pytest.mark.slow
def test_a_replica_gets_its_own_rows_and_behind_them_those_of_all_others(results):
    assert results["everyones"] == [[0, 10, 11], [10, 11, 0]]


@pytest.mark.slow
def test_the_replicas_losses_of_clicks_add_up_to_that_of_the_batch(results):
    whole, shared = results["clicks"]
    assert shared == pytest.approx(whole, rel=1e-5)


def test_where_nobody_shares_a_step_nothing_is_added_to_it():
    rows = tf.constant(np.arange(3))
    assert (across(rows) is rows, everyones(rows) is rows, replicas(), is_shared()) == (True, True, 1, False)


def test_what_is_traced_after_a_shared_step_is_not_shared():
    with shared_step():
        within = is_shared()
    assert (within, is_shared()) == (True, False)


def test_a_class_says_it_of_itself_alone():
    class Own(TwoTower):
        """With a loss of its own, perhaps."""

    assert says_shares(TwoTower)
    assert not says_shares(Own)


def test_what_was_not_held_to_a_single_replica_does_not_say_that_it_can_be_shared():
    assert [name for name in BUILT_IN if says_shares(find_model(name))] == ["two_tower"]
