"""Every policy keeps the contract of `trainer.checks`. A new part is added to `policy_runs.POLICIES`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.trainer.policy_runs import POLICIES
from trainer.checks import policy_checks
from trainer.checks.policy_checks import expect_same_update, load, save

CHECKS = {check.__name__.removeprefix("check_"): check for check in policy_checks()}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a process of its own has made the second update from what the first one saved."""
    folder = tmp_path_factory.mktemp("policies")
    for name, case in POLICIES.items():
        save(case.first, folder / name / "first")
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "tests.trainer.policy_runs", str(folder)]
    subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
@pytest.mark.parametrize("case", POLICIES.values(), ids=POLICIES)
def test_a_policy_keeps_the_contract(case, check):
    check(case)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("name", POLICIES)
def test_saved_and_loaded_in_a_fresh_process_the_same_seed_gives_the_same_result(name, elsewhere):
    expect_same_update(POLICIES[name].second, load(elsewhere / name / "elsewhere"))
