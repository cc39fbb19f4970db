"""The update policies that the continual-learning benchmark compares, over one backbone."""

from __future__ import annotations

import dataclasses

from trainer.stability import ReplaySettings, Stability
from trainer.update import ModelSpec, Policy

_LENGTH = 20
_BACKBONE = {"dimension": 128, "blocks": 1, "heads": 1}
_REGULARIZED = {**_BACKBONE, "dropout": 0.2, "item_dropout": 0.3}
_PLAIN = {**_BACKBONE, "dropout": 0.0, "item_dropout": 0.0, "reverse": False, "neighbours": 0}
_UPDATE = Policy(
    epochs=8, batch_size=200, optimizer="adam", learning_rate=0.002, clip_norm=None, patience=0, watch="recall",
    new_rows="random",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class SessionPolicy:
    """A model and how it is updated; `joint` learns all history from nothing in every cycle."""

    spec: ModelSpec
    update: Policy
    joint: bool = False


def _policy(params: dict, joint: bool = False, **update: object) -> SessionPolicy:
    return SessionPolicy(ModelSpec("sasrec", params, _LENGTH), dataclasses.replace(_UPDATE, **update), joint)


POLICIES = {
    "fine-tune": _policy(_PLAIN),
    "best": _policy(_REGULARIZED, stability=Stability(replay=ReplaySettings(6000, 0.3, 0.5))),
    "n128": _policy(_REGULARIZED),
    "n192": _policy({**_REGULARIZED, "dimension": 192}),
    "r128": _policy(_REGULARIZED, stability=Stability(replay=ReplaySettings(6000, 0.3, 0.5))),
    "w128": _policy(_REGULARIZED, learning_rate=0.0015, patience=1),
    "e128": _policy(_REGULARIZED, epochs=4, patience=9),
}
