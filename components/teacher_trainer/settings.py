"""What the teacher's trainer is told, as one JSON text so that it is an execution parameter of its own in MLMD."""

from __future__ import annotations

import dataclasses

from components.incremental_trainer.settings import Settings as TrainerSettings
from components.json_parameter import JsonParameter


@dataclasses.dataclass(frozen=True)
class Settings(JsonParameter):
    """Model and update of the teacher, and when it is due.

    Attributes:
      trainer: as its student's, with a model and a policy of its own; nothing of the export is used.
      every: spans from one refresh to the next.
      most: how many earlier spans its sequences are at hand of.
      recent: how many spans it learns from nothing.
      weighted: whether its metrics are means by the events' weights, as its student's are.
    """

    trainer: TrainerSettings
    every: int
    most: int
    recent: int
    weighted: bool
