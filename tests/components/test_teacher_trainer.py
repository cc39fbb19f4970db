"""The teacher's executor: refreshed when it is due, measured every night, and asked by the student's trainer."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from components import artifacts
from components.incremental_trainer.artifact_files import STATE_FOLDER, TAUGHT_BY
from components.resolvers import ANCESTRY, REFRESHED
from components.teacher_trainer.executor import Executor
from components.teacher_trainer.lessons import VERSION, present_teacher
from components.teacher_trainer.settings import Settings
from components.update_decider.decision import Decision
from pipeline.ledger.teacher import TeacherOfRun
from tests.components.trained_days import HISTORY, SETTINGS, Day, learned_from, made, make_day, train
from tests.trainer.small_model import SMALL
from trainer.settings import ModelSpec, TeacherSettings
from trainer.teaching.refresh import teacher_policy
from trainer.train_state import ModelState

SPEC = ModelSpec(SMALL, {"dimension": 5}, HISTORY)  # its student is of width 3
TAUGHT = dataclasses.replace(
    SETTINGS,
    policy=dataclasses.replace(SETTINGS.policy, teacher=TeacherSettings(SMALL, SPEC.params, weight=9.0)),
    teacher=SPEC,
)
OF_TEACHER = Settings(
    dataclasses.replace(TAUGHT, model=SPEC, policy=teacher_policy(TAUGHT.policy), teacher=None),
    every=2, most=9, recent=3, weighted=False,
)  # fmt: skip


def teach(
    folder: Path,
    day: Day,
    past: Sequence[Day] = (),
    before: artifacts.Teacher | None = None,
    action: str = "fine_tune",
    settings: Settings = OF_TEACHER,
) -> artifacts.Teacher:
    decision = Decision(action, "As the test says.", (day.span,))
    inputs = learned_from(folder, day, decision, past, before)
    teacher = made(artifacts.Teacher, folder / "teacher")
    properties = {"span": day.span, "version": day.span * 100 + 1, "settings": settings.to_json()}
    Executor(Executor.Context()).Do(inputs, {"teacher": [teacher]}, properties)
    return teacher


def properties_of(teacher: artifacts.Teacher) -> dict:
    values = teacher.mlmd_artifact.custom_properties
    return {name: getattr(value, value.WhichOneof("value")) for name, value in values.items()}


@pytest.fixture
def days(tmp_path: Path) -> list[Day]:
    """Three days; the second brings two new items, the third one more."""
    return [
        make_day(tmp_path / "days", 7, 3, [(2, [2, 3, 4], 0), (3, [4, 2], 0)]),
        make_day(tmp_path / "days", 8, 5, [(2, [2, 3, 4, 5, 6], 3), (4, [6, 5], 0)]),
        make_day(tmp_path / "days", 9, 6, [(3, [4, 2, 7, 5], 2)]),
    ]


def test_a_teacher_is_refreshed_every_so_often_and_measured_every_night(tmp_path: Path, days: list[Day]) -> None:
    first = teach(tmp_path / "first", days[0], action="cold_start")
    about = TeacherOfRun.of(properties_of(first))
    assert about is not None
    assert (about.version, about.base_version, about.type, about.refreshed, about.learned) == (
        701,
        None,
        SMALL,
        True,
        1,
    )
    assert about.reason == "There is no teacher to go on from."
    assert about.metrics.keys() == {"recall", "ndcg", "mrr"}
    assert about.lineage == "from fresh weights"

    second = teach(tmp_path / "second", days[1], days[:1], first)
    between = TeacherOfRun.of(properties_of(second))
    assert between is not None
    assert not list(Path(second.uri).iterdir())
    assert (between.version, between.refreshed, between.lineage) == (701, False, "as it was")
    assert between.reason == "Not due: the last span that it learned is 1 back (update.teacher.every 2)."
    assert between.metrics.keys() == about.metrics.keys()
    said = between.beside({"recall": 0.25}, "recall")
    assert said == f"taught by 701 ({SMALL}, as it was): recall {between.metrics['recall']:.4f}, its student 0.2500"

    third = teach(tmp_path / "third", days[2], days[:2], first)
    state = ModelState.load(Path(third.uri) / STATE_FOLDER)
    assert state.learned == (7, 8, 9)
    assert state.sizes.items == 2 + 6
    assert json.loads(third.get_string_custom_property(ANCESTRY)) == [701, 901]
    assert third.get_int_custom_property("parent") == 701
    assert TeacherOfRun.of(properties_of(third)).lineage == "refreshed from 701"


@pytest.mark.parametrize("why", ["its student is retrained", "its model is another"])
def test_it_begins_anew_where_its_student_does_or_its_model_is_another(
    tmp_path: Path, days: list[Day], why: str
) -> None:
    first = teach(tmp_path / "first", days[0], action="cold_start")
    wider = dataclasses.replace(SPEC, params={**SPEC.params, "dimension": 6})
    other = dataclasses.replace(OF_TEACHER, trainer=dataclasses.replace(OF_TEACHER.trainer, model=wider))
    how = {"action": "retrain"} if why == "its student is retrained" else {"settings": other}
    second = teach(tmp_path / "second", days[1], days[:1], first, **how)
    assert second.get_int_custom_property(REFRESHED) == 1
    assert second.get_int_custom_property("parent") == 0
    assert json.loads(second.get_string_custom_property(ANCESTRY)) == [801]
    assert ModelState.load(Path(second.uri) / STATE_FOLDER).learned == (7, 8)
    expected = "Its student learns from nothing" if "action" in how else "Its model is another"
    assert second.get_string_custom_property("reason").startswith(expected)


def test_the_student_is_taught_by_tonights_teacher_or_by_the_last(tmp_path: Path, days: list[Day]) -> None:
    first = teach(tmp_path / "first", days[0], action="cold_start")
    second = teach(tmp_path / "second", days[1], days[:1], first)

    def student(name: str, day: Day, **given: object) -> dict[str, np.ndarray]:
        model = train(tmp_path / name, day, Decision("cold_start", "No model.", (day.span,)), settings=TAUGHT, **given)
        taught = model.get_string_custom_property(TAUGHT_BY)
        assert json.loads(taught or "[]") == ([701] if given else [])
        return ModelState.load(Path(model.uri) / STATE_FOLDER).weights

    alone = student("alone", days[1])
    by_last = student("by last", days[1], teacher=second, earlier_teacher=first)
    assert any((by_last[path] != alone[path]).any() for path in alone)
    tonight = teach(tmp_path / "tonight", days[2], days[:2], first)
    inputs = {"teacher": [tonight], "earlier_teacher": [first]}
    assert present_teacher(inputs, "teacher", "earlier_teacher") is tonight
    assert present_teacher({**inputs, "teacher": [second]}, "teacher", "earlier_teacher") is first
    assert present_teacher({}, "teacher", "earlier_teacher") is None
    assert first.get_int_custom_property(VERSION) == second.get_int_custom_property(VERSION) == 701
