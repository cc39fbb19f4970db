"""Reads artifacts, calls the trainer where the teacher is due, and measures it: no learning maths of its own."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from tfx.dsl.components.base import base_executor
from tfx.types import artifact

from components.artifacts import set_finite
from components.incremental_trainer.artifact_files import STATE_FOLDER
from components.incremental_trainer.span_inputs import Inputs, SpanInputs, days_as_of
from components.resolvers import ANCESTRY, REFRESHED, ancestry, span_of
from components.teacher_trainer.lessons import SPEC, VERSION, state_of
from components.teacher_trainer.settings import Settings
from components.update_decider.decision import Decision
from trainer.catch_up import learn_at_once
from trainer.held_out_parts import VERDICT, held_out_files
from trainer.input_pipeline import Positions, read_held_out
from trainer.metric_aggregation import levels
from trainer.models.base import Recommender
from trainer.teaching.refresh import Refresh, due_refresh
from trainer.update import Update, rebuild

_BATCH = 256
_FROM_NOTHING = ("cold_start", "retrain")


class Executor(base_executor.BaseExecutor):
    """See `TeacherTrainer`."""

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        settings = Settings.from_json(exec_properties["settings"])
        span, version = exec_properties["span"], exec_properties["version"]
        (teacher,) = output_dict["teacher"]
        (before,) = input_dict.get("earlier_teacher") or [None]
        spec = _as_text(settings)
        past = sorted(span_of(sequences) for sequences in input_dict.get("past_sequences") or [])
        same = before is not None and before.get_string_custom_property(SPEC) == spec
        decision = Decision.read(input_dict["decision"][0].uri)
        refresh = due_refresh(
            span,
            past,
            span_of(before) if before is not None and same else None,
            settings.every,
            settings.most,
            settings.recent,
            decision.action in _FROM_NOTHING,
        )
        if before is not None and not same and refresh is not None:
            refresh = dataclasses.replace(refresh, reason="Its model is another than the last teacher's.")
        for name, value in {"span": span, "version": version, REFRESHED: refresh is not None}.items():
            teacher.set_int_custom_property(name, int(value))
        teacher.set_string_custom_property("type", settings.trainer.model.type)
        if refresh is None:
            assert before is not None
            teacher.set_int_custom_property(VERSION, before.get_int_custom_property(VERSION))
            teacher.set_string_custom_property(ANCESTRY, before.get_string_custom_property(ANCESTRY))
            teacher.set_string_custom_property("reason", _not_due(before, span, settings.every))
            model = rebuild(settings.trainer.model, state_of(before))
        else:
            base = None if refresh.from_nothing else before
            result = self._learn(refresh, base, input_dict, settings)
            result.state.save(Path(teacher.uri) / STATE_FOLDER)
            teacher.set_string_custom_property(SPEC, spec)
            _describe(teacher, result, refresh, base, version)
            model = result.model
        verdict, _ = read_held_out(held_out_files(input_dict["held_out"][0].uri, VERDICT))
        set_finite(teacher, _metrics(model, verdict.in_rows(model.sizes.numbering), settings))

    def _learn(
        self,
        refresh: Refresh,
        base: artifact.Artifact | None,
        inputs: Inputs,
        settings: Settings,
    ) -> Update:
        of = settings.trainer
        days = days_as_of(SpanInputs.of_today(inputs, of), refresh.train_on, inputs)
        return learn_at_once(of.model, days, of.policy, base=None if base is None else state_of(base))


def _as_text(settings: Settings) -> str:
    """What a teacher must have in common with the one that it goes on from."""
    model, policy = settings.trainer.model, settings.trainer.policy
    return json.dumps({"type": model.type, "params": model.params, "optimizer": policy.optimizer}, sort_keys=True)


def _not_due(before: artifact.Artifact, span: int, every: int) -> str:
    age = span - span_of(before)
    return f"Not due: the last span that it learned is {age} back (update.teacher.every {every})."


def _describe(
    teacher: artifact.Artifact, result: Update, refresh: Refresh, base: artifact.Artifact | None, version: int
) -> None:
    parent = 0 if base is None else base.get_int_custom_property(VERSION)
    numbers = {VERSION: version, "parent": parent, "examples": result.examples, "epochs": result.epochs}
    for name, value in numbers.items():
        teacher.set_int_custom_property(name, value)
    descent = [*([] if base is None else ancestry(base)), version]
    texts = {ANCESTRY: json.dumps(descent), "learned": json.dumps(list(result.state.learned)), "reason": refresh.reason}
    for name, text in texts.items():
        teacher.set_string_custom_property(name, text)
    set_finite(teacher, {"train_loss": result.train_loss, "training_seconds": result.seconds})


def _metrics(model: Recommender, positions: Positions, settings: Settings) -> dict[str, float]:
    """What the model scores on `positions`, as the gate measures a candidate; nothing of none."""
    of, by_metric = settings.trainer, dict[str, list[np.ndarray]]()
    if not len(positions):
        return {}
    for batch in positions.dataset(_BATCH, model.history_length):
        columns = (batch["key"], batch["history"], batch["item"], batch["weight"])
        for name, values in model.evaluate_positions(*columns, k=of.k, exclude_seen=of.exclude_seen).items():
            by_metric.setdefault(name, []).append(values.numpy().astype(np.float64))
    weights = np.maximum(positions.weight, 0.0) if settings.weighted else np.ones(len(positions))
    return levels({name: np.concatenate(values) for name, values in by_metric.items()}, weights.astype(np.float64))
