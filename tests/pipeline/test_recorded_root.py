"""Every command works on a root that an earlier warmspan wrote: users have models in service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from components.span_pusher.version_folder import versions
from pipeline.cli.app import app
from pipeline.config import Config
from pipeline.ledger.runs import read_ledger
from pipeline.ledger.serving_state import read_serving_state
from serving.bundle import check_bundle
from tests.pipeline.recorded_root import NEXT_DAY, VERSIONS, unpack

pytestmark = pytest.mark.filterwarnings("default")

USER, ITEM = "u00062", "i00050"
Command = Callable[..., str]


@pytest.fixture
def recorded(tmp_path: Path) -> Config:
    return unpack(tmp_path / "shop")


@pytest.fixture
def warmspan(recorded: Config) -> Command:
    """Runs a command on the recorded root; its output, in which nothing is broken into lines."""

    def run(*arguments: str) -> str:
        settings = str(recorded.root.parent / "warmspan.yaml")
        result = CliRunner().invoke(app, [*arguments, "--config", settings], env={"COLUMNS": "400"})
        assert result.exit_code == 0, (arguments, result.output, result.exception)
        return result.output

    return run


def test_its_days_are_read_as_they_were_written(recorded, warmspan):
    ledger = read_ledger(recorded)
    assert [(run.name, run.state, run.pushed, run.revision) for run in ledger] == [
        ("2024-05-01", "done", VERSIONS[0], 1),
        ("2024-05-02", "done", VERSIONS[1], 1),
        ("2024-05-03", "done", VERSIONS[2], 1),
    ]
    assert [run.action for run in ledger] == ["cold_start", "fine_tune", "fine_tune"]
    assert [run.base_version for run in ledger] == [None, *VERSIONS[:2]]
    assert [run.events for run in ledger] == [163, 169, 182]
    assert [round(run.candidate["recall"], 4) for run in ledger] == [0.6875, 0.9375, 0.5]
    serving_state = read_serving_state(recorded)
    assert (serving_state.served, serving_state.champion.version, serving_state.owed) == (VERSIONS[2], VERSIONS[2], ())

    status = warmspan("status")
    assert all(str(version) in status for version in VERSIONS)


def test_what_is_to_be_run_is_the_next_day(warmspan):
    plan = warmspan("plan")
    assert f"runs, in this order: {NEXT_DAY}." in plan


def test_its_report_is_written(recorded, warmspan, tmp_path):
    page = tmp_path / "page.html"
    warmspan("report", "--out", str(page))
    assert all(str(version) in page.read_text() for version in VERSIONS)


def test_its_model_explains_itself(warmspan):
    assert f"{VERSIONS[2]}" in warmspan("explain", "--user", USER, "--item", ITEM)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_it_goes_on_and_is_taken_back_tidied_and_erased_from(recorded, warmspan):
    warmspan("run")
    last = read_ledger(recorded)[-1]
    assert (last.name, last.state, last.base_version, last.pushed) == (NEXT_DAY, "done", VERSIONS[2], 2024050401)
    assert check_bundle(recorded.serving_path / "2024050401").about["parent"] == VERSIONS[2]

    warmspan("rollback", "--bad", str(VERSIONS[2]), "--yes", "--wait", "0")
    assert versions(recorded.serving_path) == list(VERSIONS[:2])
    assert [run.revoked for run in read_ledger(recorded)] == [False, False, True, True]

    assert "Done." in warmspan("gc", "--yes")
    assert f"no file under {recorded.root} holds the id" in warmspan("forget", "--user", USER, "--yes")
    assert versions(recorded.serving_path)
    after = warmspan("run", "--span", NEXT_DAY, "--redo")
    assert read_ledger(recorded)[-1].state == "done", after
