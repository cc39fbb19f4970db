"""The section `update` of the settings: how one span changes the model, and how far back a candidate may reach."""

from __future__ import annotations

import dataclasses

import pydantic
from pydantic.dataclasses import dataclass

from trainer.settings import AfterRefusal, Policy


@dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class Update(Policy):
    """The trainer's policy, how many spans a candidate may owe, and how many a full retrain learns."""

    max_owed_spans: int = pydantic.Field(default=14, ge=0)
    retrain_spans: int = pydantic.Field(default=28, ge=1)
    after_refusal: AfterRefusal = dataclasses.field(default_factory=AfterRefusal)

    @property
    def changed_after_refusal(self) -> AfterRefusal:
        """`after_refusal` with a factor of 1 where there is nothing that it could change."""
        replayed, several = self.stability.replay.budget > 0, self.epochs > 1
        return dataclasses.replace(
            self.after_refusal,
            replay=self.after_refusal.replay if replayed else 1.0,
            epochs=self.after_refusal.epochs if several else 1.0,
        )
