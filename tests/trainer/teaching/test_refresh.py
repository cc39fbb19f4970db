"""When a teacher is due, what it then learns, and which pairs are refused."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.features.declaration import Feature
from trainer.settings import Augmentation, Policy, ReplaySettings, Schedule, Stability, TeacherSettings
from trainer.stability.base import PolicyError
from trainer.teaching.refresh import Refresh, check_teaches, due_refresh, teacher_policy, teacher_spec

RULES = {"every": 7, "most": 27, "recent": 28, "retrain": False}


def test_it_is_due_every_so_many_spans_and_learns_all_since():
    past = list(range(90, 105))
    assert due_refresh(105, past, 99, **RULES) is None
    refresh = due_refresh(105, past, 98, **RULES)
    assert refresh == Refresh(tuple(range(99, 106)), False, refresh.reason)
    assert "7 back (update.teacher.every 7)" in refresh.reason


def test_days_that_were_passed_over_are_made_up_for():
    refresh = due_refresh(120, [97, 98, 101, 115], 98, **RULES)
    assert (refresh.train_on, refresh.from_nothing) == ((101, 115, 120), False)


@pytest.mark.parametrize(
    ("last", "changed", "reason"),
    [
        (None, {}, "no teacher to go on from"),
        (104, {"retrain": True}, "Its student learns from nothing"),
        (76, {"most": 27}, "owes more than the 27 earlier spans"),
    ],
)
def test_it_learns_the_last_spans_from_nothing(last, changed, reason):
    refresh = due_refresh(105, list(range(78, 105)), last, **{**RULES, **changed})
    assert refresh.from_nothing
    assert refresh.train_on == tuple(range(78, 106))
    assert reason in refresh.reason


@given(st.sets(st.integers(0, 60), min_size=1), st.integers(1, 9), st.integers(0, 60))
def test_when_it_learns_it_knows_no_less_than_its_student(spans, every, first):
    """Each span once and in order, whatever days are missing, and never more than `every` spans behind."""
    learned: list[int] = []
    done: list[int] = []
    for span in sorted(spans):
        refresh = due_refresh(span, done[-30:], learned[-1] if learned else None, every, 70, 70, retrain=False)
        done.append(span)
        if refresh is not None:
            learned = [*([] if refresh.from_nothing else learned), *refresh.train_on]
            assert learned == done[-len(learned) :]
            assert learned == done
        assert span - learned[-1] < every


def test_it_learns_as_its_student_but_for_what_keeps_old_days():
    student = Policy(
        teacher=TeacherSettings("sasrec", learning_rate=0.002, cold_epochs=9),
        stability=Stability(replay=ReplaySettings(9)),
        schedule=Schedule(rates=(0.1, 0.2)),
        augmentation=Augmentation(mask=0.1),
        batch_size=64,
    )
    own = teacher_policy(student)
    expected = Policy(learning_rate=0.002, cold_epochs=9, augmentation=Augmentation(mask=0.1), batch_size=64)
    assert own == expected
    of_positions = dataclasses.replace(student, teacher=TeacherSettings("two_tower"))
    assert teacher_policy(of_positions).augmentation is None
    assert teacher_policy(of_positions).schedule.rates == (0.1, 0.2)


def test_it_is_given_the_features_that_it_can_learn_from():
    brand, device = Feature("brand", "category"), Feature("device", "category")
    spec = teacher_spec(TeacherSettings("sasrec", {"dimension": 8}), 20, (brand,), (device,))
    assert (spec.history_length, spec.features, spec.query_features) == (20, (brand,), (device,))
    assert teacher_spec(TeacherSettings("mf"), 20, (brand,), (device,)).features is None
    assert teacher_spec(TeacherSettings("mf"), 20, (brand,), (device,)).query_features is None
    assert teacher_spec(TeacherSettings("sasrec"), 20).features is None


@pytest.mark.parametrize(
    ("teacher", "student", "who"),
    [("ranking", "sasrec", "The teacher"), ("sasrec", "ranking", "The student"), ("dcn", "two_tower", "The teacher")],
)
def test_a_model_of_ratings_neither_teaches_nor_learns(teacher, student, who):
    with pytest.raises(PolicyError, match=rf"which item comes next\. Received: '{teacher}' for '{student}'\. {who} "):
        check_teaches(TeacherSettings(teacher), student, {})


def test_one_of_clicks_does():
    check_teaches(TeacherSettings("dcn", {"objective": "click"}), "two_tower", {})


@pytest.mark.parametrize(
    ("given_settings", "message"),
    [
        ({"loss": "ranking", "temperature": 2.0}, "`temperature` has an effect with `loss: softmax` only"),
        ({"top_k": 5}, "`top_k` has an effect with `loss: ranking` only"),
    ],
)
def test_a_setting_of_the_other_loss_is_refused(given_settings, message):
    with pytest.raises(ValueError, match=message):
        TeacherSettings("sasrec", **given_settings)
