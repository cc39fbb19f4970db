"""Whole days: after a refused night the next one learns as the rule says, and after a success as before."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.config import Config, with_settings
from pipeline.ledger.runs import Run
from pipeline.ledger.serving_state import read_serving_state
from tests.pipeline.conftest import settings
from tests.pipeline.test_daily_loop import DAYS, run
from trainer import catch_up
from trainer.settings import Policy
from trainer.update import update

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.filterwarnings("default")]


@pytest.fixture
def config(make_shop) -> Config:
    return make_shop(4)


@pytest.fixture
def policies(monkeypatch) -> list[Policy]:
    """How each update was made, in their order."""
    asked = []

    def spied(**given):
        asked.append(given["policy"])
        return update(**given)

    monkeypatch.setattr(catch_up, "update", spied)
    return asked


def night(config: Config, day: int, floor: float = 0.0) -> Run:
    replay = {"update": {"epochs": 3, "stability": {"replay": {"budget": 50}}, "after_refusal": {"epochs": 0.5}}}
    own = with_settings(settings(config.root.parent, floor=floor), replay, "The test")
    return run(own, last=DAYS.parse(f"2024-05-{day:02d}"))[day - 1]


def test_a_refused_night_changes_the_next_ones_training_and_a_success_changes_it_back(config, policies):
    night(config, 1)
    refused = night(config, 2, floor=2.0)  # out of reach
    assert (refused.pushed, refused.learning) == (None, "")
    careful = night(config, 3)
    why = "2024-05-02 was refused, below a floor"
    assert careful.learning == f"learns at half the rate with twice the replay for half the epochs: {why}"
    assert (careful.pushed, careful.trained_on) == (2024050301, (refused.span, careful.span))
    back = night(config, 4)
    assert (back.learning, back.pushed) == ("", 2024050401)

    own = policies[0]
    assert policies[1] == policies[4] == own
    assert policies[2] == policies[3], "of the span that was owed, and of the day's own"
    assert policies[2].learning_rate == own.learning_rate / 2
    assert policies[2].stability.replay.fraction == own.stability.replay.fraction * 2
    assert policies[2].epochs == 2


@pytest.mark.exhaustive
def test_a_users_own_word_goes_first_and_a_day_that_is_skipped_says_nothing(config, policies):
    night(config, 1)
    night(config, 2, floor=2.0)
    own = policies[0]
    path = str(config.root.parent / "warmspan.yaml")
    assert "floor: 2.0" in (config.root.parent / "warmspan.yaml").read_text()
    asked = ["run", "-c", path, "--span", "2024-05-03"]
    skipped = CliRunner().invoke(app, [*asked, "--decide", "skip"])
    assert skipped.exit_code == 0, skipped.output
    standing = read_serving_state(config).learning
    assert standing == "learns at half the rate: 2024-05-02 was refused, below a floor"
    assert json.loads(CliRunner().invoke(app, ["plan", "-c", path, "--json"]).output)["learning"] == standing
    again = CliRunner().invoke(app, [*asked, "--redo", "--decide", "fine-tune"])
    assert again.exit_code == 0, again.output
    assert standing in " ".join(again.output.split())
    assert policies[-1].learning_rate == own.learning_rate / 2
    retrained = CliRunner().invoke(app, [*asked, "--redo", "--decide", "retrain"])
    assert retrained.exit_code == 0, retrained.output
    assert policies[-1].learning_rate == own.learning_rate, "fresh weights learn at the settings' own rate"
