"""From a day's artifacts to the update of its model, wherever its steps are computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfx.types import artifact

from components.incremental_trainer.artifact_files import MEMORY_FILE, STATE_FOLDER
from components.incremental_trainer.settings import Settings
from components.incremental_trainer.span_inputs import SpanInputs, days_as_of, days_as_they_were
from components.teacher_trainer.lessons import present_teacher, teacher_for
from components.update_decider.decision import Decision
from trainer.backoff import backed_off
from trainer.catch_up import catch_up, learn_at_once
from trainer.distribution import Distribution
from trainer.stability.replay_memory import ReplayMemory
from trainer.train_state import ModelState
from trainer.training_log import Losses, TrainingLog
from trainer.update import Update

Inputs = Mapping[str, Sequence[artifact.Artifact]]


@dataclasses.dataclass(frozen=True)
class Learned:
    """An update, notes on the days that it learned, and its losses."""

    result: Update
    notes: tuple[str, ...]
    losses: Losses


def base_of(inputs: Inputs, decision: Decision) -> artifact.Artifact | None:
    """The champion, where it is what is gone on from."""
    champion = inputs.get("base_model") or []
    return champion[0] if champion and decision.action == "fine_tune" else None


def learn(
    inputs: Inputs,
    settings: Settings,
    version: int,
    decision: Decision,
    today: SpanInputs,
    start: ModelState | None,
    distribution: Distribution,
    log_folder: str | None,
) -> Learned:
    """Learns what `decision` names, from `start` or from nothing.

    Args:
      inputs: of the component.
      version: of the candidate; names its curves.
      today: read from `inputs`.
      distribution: where the steps are computed.
      log_folder: where TensorBoard's curves go; None for nowhere.
    """
    remembered = inputs.get("base_memory") or []
    with TrainingLog(log_folder, version) as log:
        how: dict[str, Any] = {
            "policy": backed_off(settings.policy, decision.factors),
            "memory": ReplayMemory.load(Path(remembered[0].uri) / MEMORY_FILE) if remembered else None,
            "teacher": teacher_for(present_teacher(inputs, "teacher", "earlier_teacher"), settings.teacher),
            "on_step": log.step,
            "on_epoch": log.epoch,
            "distribution": distribution,
        }
        notes: tuple[str, ...] = ()
        if start is None:
            result = learn_at_once(settings.model, days_as_of(today, decision.train_on, inputs), **how)
        else:
            days, notes = days_as_they_were(today, decision.train_on, inputs)
            result = catch_up(settings.model, days, base=start, **how)
    return Learned(result, notes, log.losses(settings.policy.watch))


def state_of(base: artifact.Artifact | None) -> ModelState | None:
    """What an update from `base` starts from."""
    return ModelState.load(Path(base.uri) / STATE_FOLDER) if base else None
