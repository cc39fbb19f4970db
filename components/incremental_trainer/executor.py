"""Reads artifacts, calls `trainer.update`, writes the bundle: no learning maths of its own."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from tfx.dsl.components.base import base_executor
from tfx.types import artifact

from components.artifacts import set_finite, split_files
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
from components.incremental_trainer.catalogue_items import read_catalogue, served_items, told_features
from components.incremental_trainer.export import export, read_examples
from components.incremental_trainer.item_columns import item_columns
from components.incremental_trainer.new_items import keep_places
from components.incremental_trainer.query_features import features_of_manifest, query_state, request_features
from components.incremental_trainer.settings import Settings
from components.resolvers import RETRAINED, ancestry, refuse_revoked, retrained
from components.teacher_trainer.lessons import present_teacher, teach
from components.update_decider.decision import Decision
from serving.bundle.protocols import Catalogue
from trainer.backoff import backed_off
from trainer.diagnostics import measure
from trainer.held_out_parts import SELECT, held_out_files
from trainer.input_pipeline import read_held_out, read_sequences
from trainer.models.base import TableSizes
from trainer.stability.replay_memory import ReplayMemory
from trainer.train_state import ModelState, StateError
from trainer.training_log import TrainingLog
from trainer.update import Span, Update, update
from trainer.vocabulary import Vocabulary


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
        vocabulary_uri = input_dict["vocabulary"][0].uri
        items, keys = Vocabulary.load(vocabulary_uri, "items"), Vocabulary.load(vocabulary_uri, "keys")
        champion = input_dict.get("base_model") or []
        base = champion[0] if champion and decision.action == "fine_tune" else None
        for model in champion:
            refuse_revoked(model, "the base of another")
        remembered = input_dict.get("base_memory") or []
        held_out_uri = input_dict["held_out"][0].uri
        every_file = held_out_files(held_out_uri)
        held_out, _ = read_held_out(every_file)
        # Before the training, which would be in vain where the items file is none.
        columns, available = item_columns(items.ids, settings)
        features = None
        if listed := input_dict.get("catalogue"):
            sold = read_catalogue(listed[0].uri)
            served = served_items(sold, items.ids, settings)
            available = served if available is None else available & served
            encodings = [of.uri for of in input_dict.get("encodings") or []]
            features = told_features(sold, items, vocabulary_uri, settings, encodings)
        known = query_state(vocabulary_uri, settings)
        catalogue = Catalogue(items.ids.to_pylist(), keys.ids.to_pylist(), columns, items.first_row, available)

        policy = backed_off(settings.policy, decision.factors)
        start = ModelState.load(Path(base.uri) / STATE_FOLDER) if base else None
        popularity = np.concatenate([np.zeros(items.first_row), items.recent])

        words = (*(() if features is None else features.sizes), *known.sizes(settings.model.query_features or ()))
        sizes = TableSizes(items.size, keys.size, items.first_row, words)
        taught_by = present_teacher(input_dict, "teacher", "earlier_teacher")

        with TrainingLog(settings.log_folder, version) as log:
            result = update(
                spec=settings.model,
                sizes=sizes,
                spans=_spans(decision, [*(input_dict.get("past_sequences") or []), *input_dict["sequences"]]),
                held_out=read_held_out(held_out_files(held_out_uri, SELECT))[0],
                popularity=popularity,
                policy=policy,
                base=start,
                on_step=log.step,
                on_epoch=log.epoch,
                memory=ReplayMemory.load(Path(remembered[0].uri) / MEMORY_FILE) if remembered else None,
                features=features,
                knots={name: numbers.knots() for name, numbers in known.numbers.items()},
                teacher=teach(taught_by, settings.teacher, sizes) if taught_by and settings.teacher else None,
            )
        (model,), (memory,) = output_dict["model"], output_dict["memory"]
        result.state.save(Path(model.uri) / STATE_FOLDER)
        result.memory.save(Path(memory.uri) / MEMORY_FILE)
        about = {
            "span": span,
            "version": version,
            "parent": base.get_int_custom_property("version") if base else None,
            "model": settings.model.type,
            "learned": list(result.state.learned),
            "vocabulary": {"items": items.fingerprint, "keys": keys.fingerprint},
        }
        about |= features_of_manifest(settings)
        if settings.places_for_new:
            about["places_for_new"] = dataclasses.asdict(settings.places_for_new)
        before = start or _in_service(champion)
        health = measure(
            result.model,
            result.state.weights,
            None if before is None else before.weights,
            held_out,
            popularity,
            settings.k,
            settings.exclude_seen,
            available,
        )
        health.save(Path(model.uri) / HEALTH_FILE)
        log.losses(settings.policy.watch).save(Path(model.uri) / LOSSES_FILE)
        kept, cost = keep_places(result.model, sold if listed else None, items, available, held_out, settings)
        exported = export(
            result.model,
            catalogue,
            held_out,
            read_examples(every_file),
            settings,
            Path(model.uri) / SERVING_FOLDER,
            about,
            request_features(known, settings),
            kept,
        )
        exported.reference.save(Path(model.uri) / REFERENCE_FILE)
        _describe(model, result, about, decision, exported.notes)
        if taught_by is not None:
            model.set_string_custom_property(TAUGHT_BY, json.dumps(ancestry(taught_by)))
        if cost:
            model.set_string_custom_property(PLACES, cost)
        model.set_int_custom_property(RETRAINED, span if base is None else retrained(base))
        for name, value in {"span": span, "version": version, "sequences": len(result.memory)}.items():
            memory.set_int_custom_property(name, value)


def _spans(decision: Decision, past_sequences: list[artifact.Artifact]) -> list[Span]:
    by_span = {sequences.get_int_custom_property("span"): sequences for sequences in past_sequences}
    return [Span(number, read_sequences(split_files(by_span[number], "train"))) for number in decision.train_on]


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
