"""The update policies that the continual-learning benchmark compares, over one backbone.

Their settings were chosen by cycles 1 to 4 of `diginetica` with one seed; later cycles of earlier settings had been
seen by then, so that only other data are a blind test. Every policy has the same Transformer, learns its pairs in both
directions and mixes by the same few weights; `best` and `joint` also count transitions. With 6,000 sessions replayed
at half weight Recall@20 was 0.2 points lower on cycles 2 to 4, so `best` has no replay.
"""

from __future__ import annotations

import dataclasses

from trainer.settings import EwcSettings, ModelSpec, Policy, Schedule, Stability, TeacherSettings

_LENGTH = 20
_UPDATE = Policy(
    epochs=4,
    cold_epochs=6,
    batch_size=200,
    optimizer="adam",
    learning_rate=0.003,
    schedule=Schedule(row_boost=7.0),
    clip_norm=None,
    patience=9,
    watch="recall",
    new_rows="random",
)


@dataclasses.dataclass(frozen=True)
class SessionPolicy:
    """A model and how it is updated; `joint` learns all history from nothing in every cycle."""

    spec: ModelSpec
    update: Policy
    joint: bool = False


def _policy(
    update: Policy = _UPDATE,
    dropout: bool = True,
    counted: bool = False,
    joint: bool = False,
    width: int = 128,
    blocks: int = 1,
) -> SessionPolicy:
    params = {
        "dimension": width,
        "blocks": blocks,
        "dropout": 0.2 if dropout else 0.0,
        "item_dropout": 0.3 if dropout else 0.0,
        "neighbours": 64 if counted else 0,
    }
    return SessionPolicy(ModelSpec("sasrec", params, _LENGTH), update, joint)


_EWC = dataclasses.replace(_UPDATE, stability=Stability(ewc=EwcSettings(strength=100.0)))
# It stops by itself, when what is held out no longer gains from going on.
_JOINT = dataclasses.replace(_UPDATE, cold_epochs=20, patience=1)

_WIDE = {"width": 256, "blocks": 2}
_TEACHER = _policy(counted=True, **_WIDE)
# A cycle is a week, so that the teacher is refreshed as often as `every: 7` refreshes it by days.
_SOFTMAX = TeacherSettings("sasrec", _TEACHER.spec.params, every=1)
_RANKING = dataclasses.replace(_SOFTMAX, loss="ranking")

POLICIES = {
    "fine-tune": _policy(dropout=False),
    "dropout": _policy(),
    "ewc": _policy(_EWC, dropout=False),
    "joint": _policy(_JOINT, counted=True, joint=True),
    "best": _policy(counted=True),
    "teacher": _TEACHER,
    "taught": _policy(dataclasses.replace(_UPDATE, teacher=_SOFTMAX), counted=True),
    "taught by ranks": _policy(dataclasses.replace(_UPDATE, teacher=_RANKING), counted=True),
}
