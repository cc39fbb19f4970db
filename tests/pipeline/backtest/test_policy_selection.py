"""Which policy is named the winner, and what becomes of the settings file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.backtest import Policy, Winner, comparison, settings_of
from pipeline.backtest.policy_selection import find_winner
from pipeline.backtest.results import Row
from pipeline.cli.app import app
from pipeline.config import Config, ConfigError, load_config, with_settings
from tests.pipeline.backtest.backtest_shop import SETTINGS, deliver_shop

pytestmark = pytest.mark.filterwarnings("default")


def make_rows(policy: str, values: Sequence[float], seconds: float, metric: str = "recall", seed: int = 1) -> list[Row]:
    tested = [
        Row(policy, seed, str(day), "fine_tune", 9, {metric: value}, 1, 1, seconds) for day, value in enumerate(values)
    ]
    return [Row(policy, seed, "first", "cold_start", 0, {}, 1, 1, seconds), *tested]


def winner(*policies: list[Row], metric: str = "recall") -> Winner:
    choice = find_winner([row for rows in policies for row in rows], [metric], 20)
    assert choice is not None
    return choice


def test_the_best_wins_where_nothing_is_near():
    choice = winner(make_rows("a", [0.3, 0.4, 0.5], 9), make_rows("b", [0.1, 0.2, 0.35], 1))
    assert choice.policy == "a"
    assert choice.why.startswith("a wins: its recall@20 of 0.4000, the mean of 3 spans, is the best")
    assert choice.why.count(".") == choice.why.count("0.") + 1, "one sentence"


def test_of_those_within_a_standard_error_the_cheapest_wins():
    choice = winner(
        make_rows("best", [0.30, 0.40, 0.51], 9),
        make_rows("cheap", [0.30, 0.41, 0.50], 2),
        make_rows("cheaper and worse", [0.1, 0.2, 0.3], 1),
    )
    assert choice.policy == "cheap"
    assert "within one standard error of the best, 0.4033 of best, and it trains 8.0 instead of 36.0 sec" in choice.why


def test_the_best_stays_where_what_is_tied_with_it_costs_more():
    choice = winner(make_rows("best", [0.30, 0.40, 0.51], 2), make_rows("dear", [0.30, 0.41, 0.50], 9))
    assert choice.policy == "best"
    assert "nothing within one standard error of it trains faster" in choice.why


def test_good_and_bad_days_that_all_policies_share_do_not_tie_them():
    """By the spread of the best policy's own days, which is wide, the other would be within a standard error."""
    days = [0.1, 0.9, 0.2, 0.8]
    assert winner(make_rows("a", days, 9), make_rows("b", [day - 0.01 for day in days], 1)).policy == "a"


def test_one_span_ties_only_what_is_equal():
    assert winner(make_rows("a", [0.5], 9), make_rows("b", [0.4999], 1)).policy == "a"
    assert winner(make_rows("a", [0.5], 9), make_rows("b", [0.5], 1)).policy == "b"


def test_seeds_are_averaged_and_their_seconds_too():
    a = [*make_rows("a", [0.1, 0.2], 2, seed=1), *make_rows("a", [0.5, 0.6], 2, seed=2)]
    choice = winner(a, make_rows("b", [0.29, 0.41], 3))
    assert choice.policy == "a", "both 0.35, but a seed of b costs more"


def test_of_an_error_the_lowest_is_the_best():
    choice = winner(make_rows("a", [1.0, 2.0], 1, "rmse"), make_rows("b", [0.9, 1.9], 1, "rmse"), metric="rmse")
    assert choice.policy == "b"


def test_without_a_test_there_is_no_winner():
    assert find_winner(make_rows("a", [], 1), ["recall"], 20) is None
    with pytest.raises(ConfigError, match="must have a winner"):
        settings_of(None, [])


@pytest.mark.parametrize("name", ["weekly", "most popular"])
def test_what_no_setting_can_say_is_refused(name, tmp_path):
    config = deliver_shop(tmp_path, days=1)
    policies = [Policy("weekly", "retrain", config), Policy("gentle", "fine_tune", config)]
    assert settings_of(Winner("gentle", ""), policies) == config
    with pytest.raises(ConfigError, match=f"must have a winner that fine-tunes.*Received: {name}, a .*Nothing was wr"):
        settings_of(Winner(name, ""), policies)


# The command.

COMMENTED = "# Ours.\n" + SETTINGS.replace("update: {epochs: 1, ", "# How.\nupdate: # each day\n  {epochs: 1, ")


def command(base: Path, policies: str, *more: str) -> tuple[int, str, Config]:
    (base / "policies.yaml").write_text(policies)
    file = str(base / "warmspan.yaml")
    result = CliRunner().invoke(
        app, ["backtest", "-c", file, "--policies", str(base / "policies.yaml"), "--write-config", *more]
    )
    return result.exit_code, result.output, load_config(file)


def test_the_winner_goes_into_the_file_and_comments_stay(tmp_path, monkeypatch, capfd):
    before = deliver_shop(tmp_path, COMMENTED, days=2)
    monkeypatch.setattr(comparison, "find_winner", lambda *_: Winner("gentle", "gentle wins."))
    code, _, after = command(tmp_path, "gentle: {update: {learning_rate: 0.02, stability: {replay: {budget: 9}}}}")
    said = capfd.readouterr()
    assert code == 0, said.err
    assert after == with_settings(
        before, {"update": {"learning_rate": 0.02, "stability": {"replay": {"budget": 9}}}}, ""
    )
    assert (tmp_path / "warmspan.yaml").read_text() == COMMENTED.replace(
        "retrain_spans: 2}", "retrain_spans: 2, learning_rate: 0.02, stability: {replay: {budget: 9}}}"
    )


def test_a_winner_that_does_not_fine_tune_leaves_the_file_and_says_so(tmp_path, monkeypatch, capfd):
    before = deliver_shop(tmp_path, days=2)
    monkeypatch.setattr(comparison, "find_winner", lambda *_: Winner("still", "still wins."))
    code, said, after = command(tmp_path, "still: {learn: never}", "--no-retention")
    assert code == 1
    assert "must have a winner that fine-tunes" in said + capfd.readouterr().err
    assert after == before
    assert (tmp_path / "warmspan.yaml").read_text() == SETTINGS
