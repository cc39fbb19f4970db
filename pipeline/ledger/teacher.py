"""Who taught the candidate of a run, as ML Metadata has it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

TEACHER_TYPE = "WarmspanTeacher"
# What else is written on a teacher as a number; everything but these is a metric.
_NO_METRICS = frozenset({"train_loss", "training_seconds"})


@dataclasses.dataclass(frozen=True)
class TeacherOfRun:
    """The teacher of one run.

    Attributes:
      version: of the run in which it learned last.
      base_version: of the teacher that it went on from then; None from fresh weights, or where it was not refreshed.
      type: of its model.
      refreshed: whether it learned in this run.
      reason: why it did, or did not.
      metrics: what it scores on the events that judge the candidate.
      learned: how many spans it learned, it and those that it descends from since fresh weights; None where it was not
        refreshed.
    """

    version: int
    base_version: int | None
    type: str
    refreshed: bool
    reason: str
    metrics: Mapping[str, float]
    learned: int | None

    @classmethod
    def of(cls, properties: Mapping[str, Any]) -> TeacherOfRun | None:
        """Of the properties of its artifact; None of none."""
        if not properties:
            return None
        refreshed = properties.get("refreshed") == 1
        numbers = {name: value for name, value in properties.items() if isinstance(value, float)}
        return cls(
            version=properties["teacher_version"],
            base_version=properties.get("parent") or None,
            type=properties["type"],
            refreshed=refreshed,
            reason=properties.get("reason", ""),
            metrics={name: value for name, value in numbers.items() if name not in _NO_METRICS},
            learned=len(json.loads(properties["learned"])) if refreshed else None,
        )

    @property
    def lineage(self) -> str:
        """Where it comes from, in a few words: "refreshed from 1984401", "as it was"."""
        if not self.refreshed:
            return "as it was"
        return f"refreshed from {self.base_version}" if self.base_version else "from fresh weights"

    def beside(self, candidate: Mapping[str, float], metric: str) -> str:
        """It, and its `metric` beside that of its student, the candidate, in a sentence."""
        scores = ""
        if metric in self.metrics:
            of_student = f", its student {candidate[metric]:.4f}" if metric in candidate else ""
            scores = f": {metric} {self.metrics[metric]:.4f}{of_student}"
        return f"taught by {self.version} ({self.type}, {self.lineage}){scores}"
