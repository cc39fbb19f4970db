"""Days of events with features of key and context, from the user's files to a served bundle."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfx.types import artifact, artifact_utils, standard_artifacts

from components import artifacts
from components.incremental_trainer.settings import Settings as TrainerSettings
from components.span_transform.settings import Settings as TransformSettings
from components.span_transform.shard import Folders
from components.update_decider.decision import Decision
from tests.components import span_transform_days
from tests.components.plain_settings import PLAIN
from tests.components.span_example_gen_ingest import Ingested, deliver, ingest, span_of
from tests.components.trained_days import Day, train
from trainer.features.declaration import Feature
from trainer.held_out_parts import SELECT, VERDICT
from trainer.settings import ModelSpec, Policy

KEY = (Feature(name="country", kind="category"), Feature(name="age", kind="number"))
CONTEXT = (
    Feature(name="device", kind="category"),
    Feature(name="tags", kind="categories", max_values=3),
    Feature(name="campaign", kind="id"),
    Feature(name="joined", kind="time"),
)
FEATURES = (*KEY, *CONTEXT)
COLUMNS = ("user", "film", "at", *(feature.name for feature in FEATURES))
HISTORY = 4
TRANSFORM = TransformSettings(
    length=8, oov_rows=1, item_min_count=1, key_min_count=1, half_life_spans=7.0, cold_below=5, verdict_share=0.5,
    query_features=FEATURES,
)  # fmt: skip


def trainer_settings(type_: str = "two_tower", **params: Any) -> TrainerSettings:
    return dataclasses.replace(
        PLAIN.trainer,
        model=ModelSpec(type_, {"dimension": 8, **params}, HISTORY, query_features=FEATURES),
        policy=Policy(epochs=3, batch_size=16, learning_rate=0.3, initial_accumulator=0.1),
        k=5,
        max_k=20,
        exclude_seen=False,
        log_folder=None,
        key_features=len(KEY),
        decimal_ids="whole",
    )


def as_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = COLUMNS) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: row.get(name, "") for name in columns} for row in rows)
    return out.getvalue()


def read_day(base: Path, date: str, text: str, eval_fraction: float = 0.2, **data: Any) -> Ingested:
    """Ingests one day's events; `features` and the rest of `data` as `SpanExampleGen` takes them."""
    deliver(base / "files", text, folder=date)
    features = [dataclasses.asdict(feature) for feature in data.pop("features", FEATURES)]
    return ingest(
        base / "files", base / date, span=span_of(date), eval_fraction=eval_fraction, query_features=features, **data
    )


def transform_day(
    root: Path, ingested: Ingested, date: str, before: str | None = None, settings: TransformSettings = TRANSFORM
) -> Folders:
    """Transforms an ingested day under `root`, after the one of the date `before`."""
    span, yesterday = span_of(date), None if before is None else span_of(before)
    where = span_transform_days.folders(root, span, yesterday)
    files = {split: [str(path) for path in ingested.files(split)] for split in ("train", "eval")}
    span_transform_days.run_beam(files, 2, span, where, settings)
    return where


def train_day(
    root: Path, date: str, where: Folders, settings: TrainerSettings, base: artifact.Artifact | None = None
) -> artifact.Artifact:
    """Trains on a transformed day alone, from `base` where there is one."""
    span = span_of(date)
    sequences, held_out, vocabulary = (
        _artifact(kind, uri, span)
        for kind, uri in (
            (standard_artifacts.Examples, where.sequences),
            (standard_artifacts.Examples, where.held_out),
            (artifacts.Vocabulary, where.vocabulary),
        )
    )
    sequences.split_names = artifact_utils.encode_split_names(["train"])
    held_out.split_names = artifact_utils.encode_split_names([SELECT, VERDICT])
    decision = Decision("cold_start" if base is None else "fine_tune", "", (span,))
    return train(root, Day(span, sequences, held_out, vocabulary), decision, base=base, settings=settings)


def _artifact(kind: type, uri: str, span: int) -> artifact.Artifact:
    made = kind()
    made.uri = uri
    made.set_int_custom_property("span", span)
    return made
