"""Whole days: after a refused night the next one learns as the rule says, and after a success as before."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.config import with_settings
from pipeline.ledger.serving_state import read_serving_state
from tests.pipeline.conftest import settings
from tests.pipeline.test_daily_loop import DAYS, run
from trainer import catch_up
from trainer.update import update

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.filterwarnings("default")]


def test_a_refused_night_changes_the_next_ones_training_and_a_success_changes_it_back(make_shop, monkeypatch):
    config = make_shop(6)
    replay = {"update": {"epochs": 3, "stability": {"replay": {"budget": 50}}, "after_refusal": {"epochs": 0.5}}}
    policies = []

    def spied(**given):
        policies.append(given["policy"])
        return update(**given)

    monkeypatch.setattr(catch_up, "update", spied)

    def night(day: int, floor: float = 0.0, **asked):
        own = with_settings(settings(config.root.parent, floor=floor), replay, "The test")
        return run(own, last=DAYS.parse(f"2024-05-{day:02d}"), **asked)[day - 1]

    night(1)
    refused = night(2, floor=2.0)  # out of reach
    assert (refused.pushed, refused.learning) == (None, "")
    careful = night(3)
    why = "2024-05-02 was refused, below a floor"
    assert careful.learning == f"learns at half the rate with twice the replay for half the epochs: {why}"
    assert (careful.pushed, careful.trained_on) == (2024050301, (refused.span, careful.span))
    back = night(4)
    assert (back.learning, back.pushed) == ("", 2024050401)

    own = policies[0]
    assert policies[1] == policies[4] == own
    assert policies[2] == policies[3], "of the span that was owed, and of the day's own"
    assert policies[2].learning_rate == own.learning_rate / 2
    assert policies[2].stability.replay.fraction == own.stability.replay.fraction * 2
    assert policies[2].epochs == 2

    # A user's own word goes first, and a day that is skipped says nothing.
    night(5, floor=2.0)
    path = str(config.root.parent / "warmspan.yaml")
    text = (config.root.parent / "warmspan.yaml").read_text()
    assert "floor: 2.0" in text
    skipped = CliRunner().invoke(app, ["run", "-c", path, "--span", "2024-05-06", "--decide", "skip"])
    assert skipped.exit_code == 0, skipped.output
    standing = read_serving_state(config).learning
    assert standing == "learns at half the rate: 2024-05-05 was refused, below a floor"
    assert json.loads(CliRunner().invoke(app, ["plan", "-c", path, "--json"]).output)["learning"] == standing
    again = CliRunner().invoke(app, ["run", "-c", path, "--span", "2024-05-06", "--redo", "--decide", "fine-tune"])
    assert again.exit_code == 0, again.output
    assert standing in " ".join(again.output.split())
    assert policies[-1].learning_rate == own.learning_rate / 2
    retrained = CliRunner().invoke(app, ["run", "-c", path, "--span", "2024-05-06", "--redo", "--decide", "retrain"])
    assert retrained.exit_code == 0, retrained.output
    assert policies[-1].learning_rate == own.learning_rate, "fresh weights learn at the settings' own rate"
