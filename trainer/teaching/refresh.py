"""When a teacher learns and from what: which model it is, by which policy, on which spans."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from trainer.features.declaration import Feature
from trainer.models import find_model
from trainer.settings import ModelSpec, Policy, Stability, TeacherSettings
from trainer.stability.base import PolicyError


@dataclasses.dataclass(frozen=True)
class Refresh:
    """What a teacher learns now.

    Attributes:
      train_on: spans, oldest first; the last is that which its student is about to learn.
      from_nothing: whether it begins with fresh weights.
      reason: a sentence.
    """

    train_on: tuple[int, ...]
    from_nothing: bool
    reason: str


def due_refresh(
    span: int, past: Sequence[int], last: int | None, every: int, most: int, recent: int, retrain: bool
) -> Refresh | None:
    """What the teacher is to learn before its student learns `span`; None where it is not due.

    A teacher that is due learns all spans since its last one, whatever was held against its student's candidates in
    between, so that on such a day it knows no less than its student.

    Args:
      span: that the student is about to learn.
      past: spans before it whose sequences are at hand, oldest first; not more than `most`.
      last: the last span that the teacher has learned; None without a teacher.
      every: spans from one refresh to the next.
      most: how many earlier spans are looked at.
      recent: how many spans are learned from nothing.
      retrain: whether the student is learned from nothing.
    """
    fresh = (*past, span)[-recent:]
    if last is None:
        return Refresh(fresh, True, "There is no teacher to go on from.")
    if retrain:
        return Refresh(fresh, True, "Its student learns from nothing, and what calls for that holds for it too.")
    age = span - last
    if age < every:
        return None
    owed = tuple(number for number in past if number > last)
    if len(owed) >= most:
        return Refresh(fresh, True, f"It owes more than the {most} earlier spans that are at hand.")
    return Refresh((*owed, span), False, f"The last span that it learned is {age} back (update.teacher.every {every}).")


def teacher_spec(
    settings: TeacherSettings,
    history_length: int,
    features: Sequence[Feature] | None = None,
    query_features: Sequence[Feature] = (),
) -> ModelSpec:
    """The teacher's model, with those of the declared features that it can learn from.

    Args:
      settings: say which model.
      history_length: of its student: both read the same events.
      features: of items; None without a catalogue.
      query_features: of key and context.
    """
    model = find_model(settings.type)
    of_items = None
    if features is not None and model.item_feature_kinds:
        of_items = tuple(feature for feature in features if feature.kind in model.item_feature_kinds)
    of_query = tuple(feature for feature in query_features if feature.kind in model.query_feature_kinds)
    return ModelSpec(settings.type, settings.params, history_length, of_items, of_query or None)


def teacher_policy(policy: Policy) -> Policy:
    """How a teacher learns: as its student, from nobody, and without the parts that keep old days.

    Those hold on to what a model of the student's shape was; the teacher sees spans in larger lots instead.
    """
    teacher = policy.teacher
    assert teacher is not None
    sequences = find_model(teacher.type).form == "sequences"
    given = {name: getattr(teacher, name) for name in ("learning_rate", "epochs", "cold_epochs")}
    own = {name: value for name, value in given.items() if value is not None}
    # A rate of its own is one; the student's choice among several is of the student's.
    schedule = policy.schedule if "learning_rate" not in own else dataclasses.replace(policy.schedule, rates=())
    augmentation = policy.augmentation if sequences else None
    changed = {**own, "schedule": schedule, "augmentation": augmentation}
    return dataclasses.replace(policy, teacher=None, stability=Stability(), **changed)


def check_teaches(settings: TeacherSettings, student: str, params: Mapping[str, Any]) -> None:
    """Refuses a pair whose scores can't be compared.

    Args:
      settings: of the teacher.
      student, params: the model that is to be taught, and its parameters.

    Raises:
      PolicyError: one of them predicts the events' weights.
    """
    for who, type_, of in (("The teacher", settings.type, settings.params), ("The student", student, params)):
        if find_model(type_).weight_role(of) == "label":
            raise PolicyError(
                f"`update.teacher` needs two models that say which item comes next. Received: {settings.type!r} for "
                f"{student!r}. {who} predicts the events' weights instead (`objective`), which can't be compared over "
                "items. Take another objective or model, or take the teacher out."
            )
