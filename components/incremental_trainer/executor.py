"""Reads artifacts, calls `trainer.update`, writes the bundle: no learning maths of its own."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from tfx.dsl.components.base import base_executor
from tfx.types import artifact

from components.incremental_trainer.settings import Settings
from components.lineage import RETRAINED, refuse_revoked, retrained
from components.properties import set_finite
from components.splits import split_files
from components.update_decider.decision import Decision
from serving.bundle import write_bundle
from serving.signatures import Catalogue, Signatures
from trainer.input import read_held_out, read_sequences
from trainer.logs import TrainingLog
from trainer.models.base import TableSizes
from trainer.stability.replay import ReplayMemory
from trainer.state import ModelState
from trainer.update import Span, Update, update
from trainer.vocabulary import Vocabulary

STATE_FOLDER = "state"
SERVING_FOLDER = "Format-Serving"  # where TFX's own parts look for a model
MEMORY_FILE = "memory.npz"


class TitlesError(ValueError):
    """The file of titles can't be read; the message says what it must be."""


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

        with TrainingLog(settings.log_folder, version) as log:
            result = update(
                spec=settings.model,
                sizes=TableSizes(items.size, keys.size, items.first_row),
                spans=_spans(decision, [*(input_dict.get("past_sequences") or []), *input_dict["sequences"]]),
                held_out=read_held_out(split_files(input_dict["held_out"][0], "eval"))[0],
                popularity=np.concatenate([np.zeros(items.first_row), items.recent]),
                policy=settings.policy,
                base=ModelState.load(Path(base.uri) / STATE_FOLDER) if base else None,
                on_step=log.step,
                on_epoch=log.epoch,
                memory=ReplayMemory.load(Path(remembered[0].uri) / MEMORY_FILE) if remembered else None,
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
        _export(result, items, keys, settings, Path(model.uri) / SERVING_FOLDER, about)
        _describe(model, result, about, decision)
        model.set_int_custom_property(RETRAINED, span if base is None else retrained(base))
        for name, value in {"span": span, "version": version, "sequences": len(result.memory)}.items():
            memory.set_int_custom_property(name, value)


def _spans(decision: Decision, found: list[artifact.Artifact]) -> list[Span]:
    by_span = {one.get_int_custom_property("span"): one for one in found}
    return [Span(number, read_sequences(split_files(by_span[number], "train"))) for number in decision.train_on]


def _export(
    result: Update, items: Vocabulary, keys: Vocabulary, settings: Settings, folder: Path, about: dict[str, Any]
) -> None:
    result.model.freeze()
    catalogue = Catalogue(
        items=items.ids.to_pylist(),
        keys=keys.ids.to_pylist(),
        titles=_titles(items.ids, settings),
        first_row=items.first_row,
    )
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".assets-") as assets:
        signatures = Signatures(
            result.model, catalogue, Path(assets), settings.k, settings.max_k, settings.exclude_seen
        )
        write_bundle(signatures, folder, about)


def _titles(ids: pa.Array, settings: Settings) -> list[str]:
    if settings.items_file is None:
        return [""] * len(ids)
    columns = [settings.item_column, settings.title_column]
    types = dict.fromkeys(columns, pa.string())
    try:
        table = pa.csv.read_csv(
            settings.items_file,
            parse_options=pa.csv.ParseOptions(newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(include_columns=columns, column_types=types),
        )
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        raise TitlesError(
            f"`data.items` must be a CSV file with the columns {' and '.join(columns)}. Received: "
            f"{settings.items_file} ({error}). Name its columns in `data.columns.item` and `data.item_title`, or leave "
            "`data.items` out."
        ) from None
    titles = dict(zip(table[0].cast(pa.binary()).to_pylist(), table[1].to_pylist(), strict=True))
    return [titles.get(one) or "" for one in ids.to_pylist()]


def _describe(model: artifact.Artifact, result: Update, about: dict[str, Any], decision: Decision) -> None:
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
    if result.notes:
        model.set_string_custom_property("notes", " ".join(result.notes))
