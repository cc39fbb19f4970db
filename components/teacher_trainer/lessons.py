"""Which artifact holds the teacher, and what is written on it. A teacher is refreshed seldom; its artifact is nightly.

On a night without a refresh the artifact has no state: the figures on it are of the last one that has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tfx.types import artifact

from components.incremental_trainer.artifact_files import STATE_FOLDER
from components.resolvers import REFRESHED
from trainer.catch_up import MakeTeacher
from trainer.settings import ModelSpec
from trainer.teaching.teacher import Teacher
from trainer.train_state import ModelState

# Properties of the artifact: the version of the run that trained the teacher, and its model.
VERSION, SPEC = "teacher_version", "spec"

Artifacts = Mapping[str, Sequence[artifact.Artifact]]


def present_teacher(inputs: Artifacts, today: str, earlier: str) -> artifact.Artifact | None:
    """The artifact with the state of the teacher of a span: tonight's if it was refreshed, else the last one's."""
    refreshed = [of for of in inputs.get(today) or [] if of.get_int_custom_property(REFRESHED)]
    return next(iter([*refreshed, *(inputs.get(earlier) or [])]), None)


def state_of(teacher: artifact.Artifact) -> ModelState:
    """What it has learned."""
    return ModelState.load(Path(teacher.uri) / STATE_FOLDER)


def teacher_for(teacher: artifact.Artifact | None, spec: ModelSpec | None) -> MakeTeacher | None:
    """Makes it ready to be asked by a student whose tables have the sizes that are given; None without one."""
    if teacher is None or spec is None:
        return None
    state = state_of(teacher)
    return lambda sizes: Teacher.of_rows(spec, state, sizes)
