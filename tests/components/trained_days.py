"""Days of training sequences and vocabularies, and the trainer's executor run on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfx.types import artifact, artifact_utils, standard_artifacts

from components import artifacts
from components.incremental_trainer.artifact_files import STATE_FOLDER
from components.incremental_trainer.executor import Executor
from components.incremental_trainer.settings import Settings
from components.update_decider.decision import Decision
from tests.components.plain_settings import PLAIN
from trainer.keras2 import tf
from trainer.settings import ModelSpec, Policy
from trainer.train_state import ModelState
from trainer.vocabulary import Vocabulary

HISTORY = 4
SETTINGS = dataclasses.replace(
    PLAIN.trainer,
    model=ModelSpec("tests.trainer.small_model.Small", {}, HISTORY),
    policy=Policy(epochs=2, batch_size=8),
    k=3,
    max_k=5,
    exclude_seen=True,
    item_column="item_id",
    log_folder=None,
)
ITEMS = [b"film 1", "né, 2".encode(), b"line\n3", b"\xff4", b"film 5", b"film 6"]
KEYS = [b"u1", b"u2", b"u3"]
FIRST = 2


@dataclasses.dataclass(frozen=True)
class Day:
    """What SpanTransform makes of a span."""

    span: int
    sequences: artifact.Artifact
    held_out: artifact.Artifact
    vocabulary: artifact.Artifact


def made(kind: type, folder: Path, **properties: int) -> artifact.Artifact:
    """An artifact in a new folder."""
    created = kind()
    created.uri = str(folder)
    folder.mkdir(parents=True)
    for name, value in properties.items():
        created.set_int_custom_property(name, value)
    return created


def make_day(root: Path, span: int, items: int, histories: Sequence[tuple[int, list[int], int]]) -> Day:
    """A span whose vocabulary has the first `items` of ITEMS.

    `histories` are (key row, item rows, first new position); the last item of each is held out too.
    """
    folder = root / str(span)
    sequences = made(standard_artifacts.Examples, folder / "sequences", span=span)
    held_out = made(standard_artifacts.Examples, folder / "held_out", span=span)
    vocabulary = made(artifacts.Vocabulary, folder / "vocabulary", span=span)
    sequences.split_names = artifact_utils.encode_split_names(["train"])
    held_out.split_names = artifact_utils.encode_split_names(["eval"])
    for name, ids in {"items": ITEMS[:items], "keys": KEYS}.items():
        Vocabulary.empty(1).grow(ids, span, min_count=1, half_life=7.0).save(vocabulary.uri, name)
    train = [
        {
            "key_row": [key],
            "items": rows,
            "timestamps": list(range(len(rows))),
            "weights": [1.0] * len(rows),
            "first_new": [first],
            "first_today": [first],
        }
        for key, rows, first in histories
    ]
    later = [
        {"key_row": [key], "history": rows[-1 - HISTORY : -1], "item_row": rows[-1:], "timestamp": [9], "weight": [1.0]}
        for key, rows, _ in histories
    ]
    slices = {"item_slice": b"warm", "key_slice": b"warm"}
    _write(Path(sequences.uri) / "Split-train", train)
    _write(Path(held_out.uri) / "Split-eval", [{**position, **slices} for position in later])
    return Day(span, sequences, held_out, vocabulary)


def _write(split: Path, examples: Sequence[dict[str, Any]]) -> None:
    split.mkdir()
    with tf.io.TFRecordWriter(str(split / "data-00000-of-00001.gz"), "GZIP") as writer:
        for example in examples:
            feature = {name: _feature(value) for name, value in example.items()}
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


def _feature(value: Any) -> tf.train.Feature:
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    if value and isinstance(value[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=value))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=value))


def train(
    folder: Path,
    day: Day,
    decision: Decision,
    past: Sequence[Day] = (),
    base: artifact.Artifact | None = None,
    settings: Settings = SETTINGS,
    catalogue: artifact.Artifact | None = None,
    teacher: artifact.Artifact | None = None,
    earlier_teacher: artifact.Artifact | None = None,
) -> artifact.Artifact:
    """Runs the trainer's executor; returns the model."""
    learned = 0 if base is None else max(ModelState.load(Path(base.uri) / STATE_FOLDER).learned)
    owed = [past_day for past_day in past if past_day.span > learned]
    inputs = {
        **learned_from(folder, day, decision, past, earlier_teacher),
        "past_held_out": [of.held_out for of in owed],
        "past_vocabularies": [of.vocabulary for of in owed],
        **({} if teacher is None else {"teacher": [teacher]}),
        "base_model": [] if base is None else [base],
        **({} if catalogue is None else {"catalogue": [catalogue]}),
    }
    model = made(standard_artifacts.Model, folder / "model")
    memory = made(artifacts.ReplayMemory, folder / "memory")
    properties = {"span": day.span, "version": day.span * 100 + 1, "settings": settings.to_json()}
    Executor(Executor.Context()).Do(inputs, {"model": [model], "memory": [memory]}, properties)
    return model


def learned_from(
    folder: Path, day: Day, decision: Decision, past: Sequence[Day], earlier_teacher: artifact.Artifact | None
) -> dict[str, list[artifact.Artifact]]:
    """What a model and its teacher are both given."""
    decided = made(artifacts.Decision, folder / "decision")
    decision.write(decided.uri)
    return {
        "decision": [decided],
        "sequences": [day.sequences],
        "held_out": [day.held_out],
        "vocabulary": [day.vocabulary],
        "past_sequences": [past_day.sequences for past_day in past],
        **({} if earlier_teacher is None else {"earlier_teacher": [earlier_teacher]}),
    }
