"""What is done with a span: the rule, and its component's record of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tfx.types import standard_artifacts

from components import artifacts
from components.update_decider.backoff import Backoff
from components.update_decider.component import Executor
from components.update_decider.decision import Decision, decide
from tests.components.plain_settings import update_policy
from trainer.backoff import UNCHANGED
from trainer.settings import AfterRefusal

CALM = {
    "span": 10,
    "champion_span": 9,
    "past": [7, 8, 9],
    "new_events": 500,
    "held_out": 50,
    "min_held_out": 20,
    "max_owed": 3,
    "retrain_spans": 3,
    "rules": update_policy(),
}


@pytest.mark.parametrize(
    ("changed", "action", "train_on", "reason"),
    [
        ({}, "fine_tune", (10,), "learned every earlier span"),
        ({"champion_span": 8}, "fine_tune", (9, 10), "owes 1 earlier span"),
        ({"champion_span": 6}, "fine_tune", (7, 8, 9, 10), "owes 3 earlier spans"),
        ({"champion_span": 6, "max_owed": 2}, "retrain", (8, 9, 10), "update.max_owed_spans 2"),
        ({"champion_span": 8, "max_owed": 0}, "retrain", (8, 9, 10), "update.max_owed_spans 0"),
        ({"max_owed": 0}, "fine_tune", (10,), "learned every"),
        ({"champion_span": None}, "cold_start", (8, 9, 10), "No model is in service"),
        ({"champion_span": None, "past": []}, "cold_start", (10,), "No model is in service"),
        ({"champion_span": None, "retrain_spans": 1}, "cold_start", (10,), "No model is in service"),
        ({"champion_span": None, "retrain_spans": 99}, "cold_start", (7, 8, 9, 10), "No model is in service"),
        ({"held_out": 19}, "skip", (), "19 held-out events of the verdict part are too few"),
        ({"held_out": 20}, "fine_tune", (10,), "learned every"),
        ({"held_out": 0, "champion_span": None}, "skip", (), "too few"),
        ({"new_events": 0}, "skip", (), "no event to train on"),
        ({"new_events": 0, "champion_span": None}, "skip", (), "no event to train on"),
        ({"new_events": 0, "champion_span": 8}, "fine_tune", (9, 10), "owes 1 earlier span"),
        ({"champion_span": 4, "past": [3, 5, 7]}, "fine_tune", (5, 7, 10), "owes 2 earlier spans"),
        ({"champion_span": 9, "past": [], "max_owed": 0}, "fine_tune", (10,), "learned every"),
    ],
)
def test_the_rule(changed: dict, action: str, train_on: tuple[int, ...], reason: str) -> None:
    decision = decide(**{**CALM, **changed})
    assert (decision.action, decision.train_on) == (action, train_on)
    assert reason in decision.reason
    assert decision.reason.endswith(".")


def test_a_decision_is_read_back(tmp_path: Path) -> None:
    decision = Decision("fine_tune", 'Because, "ça" 🎬.', (1, 2))
    decision.write(str(tmp_path))
    assert Decision.read(str(tmp_path)) == decision


@pytest.mark.parametrize("override", [None, "fine_tune", "retrain", "skip"])
def test_only_a_fine_tuning_is_changed_by_a_refusal_and_what_stands_is_handed_on(override: str | None) -> None:
    standing = Backoff(1, "2024-05-03 was refused, retention")
    decision = decide(**CALM, override=override, backoff=standing)
    assert decision.backoff == standing
    changed = decision.action == "fine_tune"
    assert decision.factors == (standing.factors(AfterRefusal(replay=1.0)) if changed else UNCHANGED)
    assert decision.learning == ("learns at half the rate: 2024-05-03 was refused, retention" if changed else "")


def test_a_decision_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "decision.json").write_text('{"action": "skip", "reason": "Why.", "train_on": [1], "overruled": ""}')
    assert Decision.read(str(tmp_path)) == Decision("skip", "Why.", (1,))


@pytest.mark.parametrize("champion", [None, 8])
def test_the_component_reads_its_numbers_from_the_artifacts(tmp_path: Path, champion: int | None) -> None:
    def made(kind: type, **properties: int) -> object:
        created = kind()
        for name, value in properties.items():
            created.set_int_custom_property(name, value)
        return created

    output = artifacts.Decision()
    output.uri = str(tmp_path)
    inputs = {
        "sequences": [made(standard_artifacts.Examples, span=10, new_events=500)],
        "held_out": [made(standard_artifacts.Examples, span=10, events=50)],
        "past_sequences": [made(standard_artifacts.Examples, span=span) for span in (7, 8, 9)],
        "model": [] if champion is None else [made(standard_artifacts.Model, span=champion)],
    }
    verdict = made(standard_artifacts.PushedModel, span=9, backoff=1)
    for name, text in {"lesson": "refused", "against": "retention", "action": "fine_tune"}.items():
        verdict.set_string_custom_property(name, text)
    inputs["past_verdicts"] = [verdict]
    settings = {"span": 10, "min_held_out": 20, "max_owed": 3, "retrain_spans": 3, "rules": update_policy().to_json()}
    Executor(Executor.Context()).Do(inputs, {"decision": [output]}, settings)
    written = Decision.read(str(tmp_path))
    standing = Backoff(2, "1970-01-10 was refused, retention")
    assert written == decide(**{**CALM, "champion_span": champion}, backoff=standing)
    assert output.get_string_custom_property("learning") == written.learning
    assert written.learning == ("learns at a quarter of the rate: " + standing.reason if champion else "")
    assert output.get_string_custom_property("action") == written.action == ("fine_tune" if champion else "cold_start")
    assert output.get_string_custom_property("reason") == written.reason
    assert output.get_int_custom_property("span") == 10
