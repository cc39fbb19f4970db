"""The section `update.teacher`: what the teacher and its student are given, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from components.teacher_trainer.settings import Settings
from pipeline.config import Config, ConfigError
from pipeline.parameters.graph_parameters import GraphParameters
from trainer.settings import ModelSpec

_FEATURES = {
    "catalogue": {"path": "catalogue"},
    "features": {
        "item": [{"name": "brand", "kind": "category"}],
        "context": [{"name": "device", "kind": "category"}],
    },
}


def parameters(teacher: dict | None, **more: Any) -> GraphParameters:
    columns = {"key": "u", "item": "i", "timestamp": "t"}
    update = {"learning_rate": 0.01, **({} if teacher is None else {"teacher": teacher})}
    settings = {"name": "shop", "root": "run", "data": {"path": "events", "columns": columns}, "update": update}
    return GraphParameters.of(Config.model_validate({**settings, **more}))


def test_the_teacher_has_a_model_and_a_policy_of_its_own():
    given = parameters({"type": "sasrec", "params": {"dimension": 256}, "learning_rate": 0.002}, **_FEATURES)
    assert given.teacher is not None
    of = given.teacher.trainer
    assert of.model == given.trainer.teacher
    assert (of.model.type, of.model.params) == ("sasrec", {"dimension": 256})
    assert [feature.name for feature in (*of.model.features, *of.model.query_features)] == ["brand", "device"]
    assert (of.policy.learning_rate, given.trainer.policy.learning_rate) == (0.002, 0.01)
    assert of.policy.teacher is None
    assert Settings.from_json(given.teacher.to_json()) == given.teacher
    assert (given.teacher.every, given.teacher.recent) == (7, 28)


def test_without_one_nothing_is_said_of_it():
    given = parameters(None)
    assert (given.teacher, given.trainer.teacher) == (None, None)
    assert "teacher" not in given.trainer.to_json()


def test_a_teacher_that_takes_no_features_is_given_none():
    spec = parameters({"type": "mf"}, **_FEATURES).trainer.teacher
    assert spec == ModelSpec("mf", {}, 50, None, None)


@pytest.mark.parametrize(("every", "most"), [(7, 27), (40, 40)])
def test_the_spans_that_it_owes_when_it_is_due_are_at_hand(every, most):
    given = parameters({"type": "sasrec", "every": every})
    assert given.most_spans == most
    assert given.teacher.most == most


@pytest.mark.parametrize(
    ("teacher", "more", "message"),
    [
        ({"type": "sasrec", "params": {"width": 3}}, {}, r"`update\.teacher\.params` must be .*`sasrec`.*'width'"),
        ({"type": "nothing.at.all"}, {}, r"`update\.teacher\.type` must be one of .*'nothing\.at\.all'"),
        ({"type": "ranking"}, {}, r"The teacher predicts the events' weights instead"),
        ({"type": "sasrec"}, {"model": {"type": "ranking"}}, r"The student predicts the events' weights instead"),
    ],
)
def test_what_can_not_teach_is_refused_before_anything_runs(teacher, more, message):
    with pytest.raises(ConfigError, match=message):
        parameters(teacher, **more)
