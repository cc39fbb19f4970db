"""Reads artifacts, calls `trainer.catch_up`, writes the bundle: no learning maths of its own."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.types import artifact

from components.artifacts import set_finite
from components.incremental_trainer.artifact_files import (
    HEALTH_FILE,
    LOSSES_FILE,
    MEMORY_FILE,
    PLACES,
    REFERENCE_FILE,
    SERVING_FOLDER,
    STATE_FOLDER,
    TAUGHT_BY,
)
from components.incremental_trainer.catalogue_items import served_items
from components.incremental_trainer.export import catalogue_of, export, read_examples
from components.incremental_trainer.item_columns import item_columns
from components.incremental_trainer.learning import base_of, learn, state_of
from components.incremental_trainer.new_items import keep_places
from components.incremental_trainer.query_features import features_of_manifest, request_features
from components.incremental_trainer.settings import Settings
from components.incremental_trainer.span_inputs import SpanInputs
from components.incremental_trainer.workers import learn_as_chief
from components.resolvers import RETRAINED, ancestry, refuse_revoked, retrained
from components.teacher_trainer.lessons import present_teacher
from components.update_decider.decision import Decision
from trainer.diagnostics import measure
from trainer.distribution import ALONE
from trainer.held_out_parts import held_out_files
from trainer.input_pipeline import read_held_out
from trainer.renumbering import renumbered
from trainer.train_state import ModelState, StateError
from trainer.update import Update
from trainer.workers import mirrored


class Executor(base_executor.BaseExecutor):
    """See `IncrementalTrainer`."""

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        settings = Settings.from_json(exec_properties["settings"])
        span, version = exec_properties["span"], exec_properties["version"]
        decision = Decision.read(input_dict["decision"][0].uri)
        champion = input_dict.get("base_model") or []
        base = base_of(input_dict, decision)
        for model in champion:
            refuse_revoked(model, "the base of another")
        every_file = held_out_files(input_dict["held_out"][0].uri)
        today = SpanInputs.of_today(input_dict, settings)
        held_out = read_held_out(every_file)[0].in_rows(today.numbering)
        items = today.items
        # Before the training, which would be in vain where the items file is none.
        columns, available = item_columns(items.ids, settings)
        if today.catalogue is not None:
            served = served_items(today.catalogue, items.ids, settings)
            available = served if available is None else available & served
        catalogue = catalogue_of(items, today.keys, columns, available)

        start = state_of(base)
        taught_by = present_teacher(input_dict, "teacher", "earlier_teacher")
        if settings.training is not None and settings.training.strategy == "multi_worker":
            learned = learn_as_chief(input_dict, exec_properties, settings)
        else:
            distribution = ALONE if settings.training is None else mirrored()
            curves = settings.log_folder
            learned = learn(input_dict, settings, version, decision, today, start, distribution, curves)
        result = learned.result
        (model,), (memory,) = output_dict["model"], output_dict["memory"]
        result.state.save(Path(model.uri) / STATE_FOLDER)
        result.memory.save(Path(memory.uri) / MEMORY_FILE)
        about = {
            "span": span,
            "version": version,
            "parent": base.get_int_custom_property("version") if base else None,
            "model": settings.model.type,
            "learned": list(result.state.learned),
            "vocabulary": {"items": items.fingerprint, "keys": today.keys.fingerprint},
        }
        about |= features_of_manifest(settings)
        if settings.places_for_new:
            about["places_for_new"] = dataclasses.asdict(settings.places_for_new)
        before = start or _in_service(champion)
        if before is not None:
            before = renumbered(before, today.numbering, result.model)
        health = measure(
            result.model,
            result.state.weights,
            None if before is None else before.weights,
            held_out,
            today.popularity,
            settings.k,
            settings.exclude_seen,
            available,
        )
        health.save(Path(model.uri) / HEALTH_FILE)
        learned.losses.save(Path(model.uri) / LOSSES_FILE)
        kept, cost = keep_places(result.model, today.catalogue, items, available, held_out, settings)
        exported = export(
            result.model,
            catalogue,
            held_out,
            read_examples(every_file),
            settings,
            Path(model.uri) / SERVING_FOLDER,
            about,
            request_features(today.known, settings),
            kept,
        )
        exported.reference.save(Path(model.uri) / REFERENCE_FILE)
        _describe(model, result, about, decision, (*learned.notes, *exported.notes))
        if taught_by is not None:
            model.set_string_custom_property(TAUGHT_BY, json.dumps(ancestry(taught_by)))
        if cost:
            model.set_string_custom_property(PLACES, cost)
        model.set_int_custom_property(RETRAINED, span if base is None else retrained(base))
        for name, value in {"span": span, "version": version, "sequences": len(result.memory)}.items():
            memory.set_int_custom_property(name, value)


def _in_service(champion: list[artifact.Artifact]) -> ModelState | None:
    """The state that a model from fresh weights is compared with."""
    try:
        return ModelState.load(Path(champion[0].uri) / STATE_FOLDER) if champion else None
    except StateError:  # may be why it is replaced
        return None


def _describe(
    model: artifact.Artifact, result: Update, about: dict[str, Any], decision: Decision, notes: tuple[str, ...]
) -> None:
    model.set_int_custom_property("span", about["span"])
    model.set_int_custom_property("version", about["version"])
    model.set_int_custom_property("parent", about["parent"] or 0)
    model.set_int_custom_property("examples", result.examples)
    model.set_int_custom_property("epochs", result.epochs)
    set_finite(
        model,
        {
            "train_loss": result.train_loss,
            "watched": result.watched,
            "training_seconds": result.seconds,
        },
    )
    model.set_string_custom_property("learned", json.dumps(about["learned"]))
    model.set_string_custom_property("action", decision.action)
    model.set_int_custom_property("backoff", decision.backoff.level)
    model.set_string_custom_property("backoff_reason", decision.backoff.reason)
    if notes := (*result.notes, *notes):
        model.set_string_custom_property("notes", " ".join(notes))
