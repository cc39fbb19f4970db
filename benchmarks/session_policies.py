"""The update policies that the continual-learning benchmark compares, over one backbone.

Their settings were chosen on cycles 1 to 4 of `diginetica` with one seed.
"""

from __future__ import annotations

import dataclasses

from trainer.stability import EwcSettings, ReplaySettings, Stability
from trainer.update import ModelSpec, Policy

_LENGTH = 20
_UPDATE = Policy(
    epochs=2,
    cold_epochs=6,
    batch_size=200,
    optimizer="adam",
    learning_rate=0.004,
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
    update: Policy = _UPDATE, dropout: float = 0.2, item_dropout: float = 0.3, joint: bool = False
) -> SessionPolicy:
    params = {"dimension": 128, "blocks": 1, "heads": 1, "dropout": dropout, "item_dropout": item_dropout}
    return SessionPolicy(ModelSpec("sasrec", params, _LENGTH), update, joint)


def _with(stability: Stability) -> Policy:
    return dataclasses.replace(_UPDATE, stability=stability)


POLICIES = {
    "fine-tune": _policy(dropout=0.0, item_dropout=0.0),
    "dropout": _policy(),
    "ewc": _policy(_with(Stability(ewc=EwcSettings(strength=1.0))), dropout=0.0, item_dropout=0.0),
    # It stops by itself, when a held-out tenth no longer gains from going on.
    "joint": _policy(dataclasses.replace(_UPDATE, cold_epochs=20, patience=1), joint=True),
    "best": _policy(_with(Stability(replay=ReplaySettings(budget=6000, fraction=0.2, weight=0.5)))),
}
