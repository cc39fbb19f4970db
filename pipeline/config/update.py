"""The section `update` of the settings: how one span changes the model, and how far back a candidate may reach."""

from __future__ import annotations

import pydantic
from pydantic.dataclasses import dataclass

from trainer.settings import Policy


@dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class Update(Policy):
    """The trainer's policy, how many spans a candidate may owe, and how many a full retrain learns."""

    max_owed_spans: int = pydantic.Field(default=14, ge=0)
    retrain_spans: int = pydantic.Field(default=28, ge=1)
