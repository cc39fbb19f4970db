"""Takes users out of single files under a root, each written beside and renamed. Done twice it changes nothing more."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from components.span_transform.erasure import erase_in_examples, erase_in_history
from pipeline.erasure.file_formats import PAGES, TEXTS, values_of
from pipeline.erasure.id_matcher import IdMatcher
from pipeline.erasure.search import count_in
from trainer.keras2 import tf
from trainer.models import find_model
from trainer.stability.replay_memory import ReplayMemory
from trainer.train_state import ModelState

STAND_IN = b"[forgotten]"


def erase_in_file(path: Path, matcher: IdMatcher) -> bool:
    """Takes the ids out of one file by its kind; False where it does not hold them, or no way is known."""
    if not count_in(path, matcher):
        return False
    ids, pattern = matcher.ids, matcher.pattern
    if path.suffix == ".gz" and path.parent.name.startswith("Split-"):
        erase_in_examples(path, ids, matcher.in_value)
    elif path.suffix == ".parquet" and path.name.startswith("history-"):
        erase_in_history(path, ids)
    elif path.name == "FeatureStats.pb":
        _write(path, _statistics(path.read_bytes(), ids, pattern))
    elif path.name == "SchemaDiff.pb" and pattern:
        _write(path, _anomalies(path.read_bytes(), pattern))
    elif "tfevents" in path.name and pattern:
        _write_records(path, [_event(record, pattern) for record in _records(path)])
    elif path.suffix in PAGES and matcher.words and matcher.words.search(path.read_bytes()):
        path.unlink()  # a number among numbers: nobody can tell which of them is the user
    elif path.suffix == ".csv":
        _write(path, _cells(path, matcher))
    elif path.suffix in PAGES | TEXTS and pattern:
        _write(path, pattern.sub(STAND_IN, path.read_bytes()))
    else:
        return False
    return True


def erase_in_state(folder: Path, model_type: str, rows: Sequence[int]) -> bool:
    """Makes the users' own rows, in tables of keys and in their slots, zeros; whether there was anything to do."""
    if not rows or not (folder / "state.json").exists():
        return False
    state = ModelState.load(folder)
    changed = False
    for path, arrays in [(path, [state.weights[path], *state.slots.get(path, {}).values()]) for path in state.weights]:
        if _is_of_keys(path, model_type):
            for array in arrays:
                within = [row for row in rows if array.ndim and row < len(array)]
                if array.any() and np.any(array[within]):
                    array[within] = 0
                    changed = True
    if changed:
        beside = folder.with_name(f".{folder.name}.{os.getpid()}")
        state.save(beside)
        for file in sorted(beside.iterdir()):
            os.replace(file, folder / file.name)
        beside.rmdir()
    return changed


def tables_of_keys(folder: Path, model_type: str) -> list[np.ndarray]:
    """A state's tables with a row a key."""
    if not (folder / "state.json").exists():
        return []
    weights = ModelState.load(folder).weights
    return [value for path, value in weights.items() if _is_of_keys(path, model_type)]


def erase_in_memory(path: Path, rows: Collection[int], times: Collection[int], shared: int) -> int:
    """Drops the users' exemplars; returns how many.

    Args:
      path: of the replay memory.
      rows: of the users.
      times: unix milliseconds of their events, for a user without a row of his own: an exemplar with a shared row
        (below `shared`) and one of these times goes, whoever's it is.
      shared: the first row that belongs to one key alone.
    """
    memory = ReplayMemory.load(path)
    of_users = _belong_to_users(memory, rows, times, shared)
    if of_users.any():
        left = np.flatnonzero(~of_users)
        kept = dataclasses.replace(
            memory, sequences=memory.sequences.take(left), span=memory.span[left], draw=memory.draw[left]
        )
        kept.save(path)
    return int(of_users.sum())


def exemplars_in(path: Path, rows: Collection[int], times: Collection[int], shared: int) -> int:
    """How many `erase_in_memory` would drop."""
    return int(_belong_to_users(ReplayMemory.load(path), rows, times, shared).sum())


def _belong_to_users(memory: ReplayMemory, rows: Collection[int], times: Collection[int], shared: int) -> np.ndarray:
    of = memory.sequences
    of_users = np.isin(of.key, list(rows))
    erased_times = np.array(sorted(times), np.int64)
    for place in np.flatnonzero((of.key < shared) & ~of_users):
        of_users[place] = np.isin(of.timestamps[of.splits[place] : of.splits[place + 1]], erased_times).any()
    return of_users


def redacted(text: str, pattern: re.Pattern[bytes]) -> str:
    """A text without the ids."""
    return pattern.sub(STAND_IN, text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def redact(message: Message, pattern: re.Pattern[bytes]) -> None:
    """Takes the ids out of every string and every bytes of a message, in place."""
    for field, value in message.ListFields():
        repeated = not isinstance(value, (Message, str, bytes))
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            if repeated and hasattr(value, "values"):  # a map
                for key in list(value):
                    if isinstance(value[key], Message):
                        redact(value[key], pattern)
            else:
                for inner in value if repeated else [value]:
                    redact(inner, pattern)
        elif change := _CHANGES.get(field.type):
            if repeated:
                value[:] = [change(inner, pattern) for inner in value]
            else:
                setattr(message, field.name, change(value, pattern))


_CHANGES: dict[int, Callable[[Any, re.Pattern[bytes]], Any]] = {
    FieldDescriptor.TYPE_STRING: redacted,
    FieldDescriptor.TYPE_BYTES: lambda value, pattern: pattern.sub(STAND_IN, value),
}


def _is_of_keys(path: str, model_type: str) -> bool:
    tables = find_model(model_type).tables
    return any(kind == "keys" and path.startswith(name) for name, kind in tables.items())


def _cells(path: Path, matcher: IdMatcher) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        for row in csv.reader(file):
            cells = [cell.encode("utf-8", "surrogateescape") for cell in row]
            cells = [STAND_IN if cell in matcher.ids else cell for cell in cells]
            if matcher.pattern:
                cells = [matcher.pattern.sub(STAND_IN, cell) for cell in cells]
            writer.writerow([cell.decode("utf-8", "surrogateescape") for cell in cells])
    return out.getvalue().encode("utf-8", "surrogateescape")


def _statistics(data: bytes, ids: Collection[bytes], pattern: re.Pattern[bytes] | None) -> bytes:
    from tensorflow_metadata.proto.v0 import statistics_pb2

    statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(data)
    names = {id_.decode("utf-8", "replace") for id_ in ids}
    for dataset in statistics.datasets:
        for feature in dataset.features:
            if "item" in (feature.name, *feature.path.step):
                continue
            strings = feature.string_stats
            top = [top_value for top_value in strings.top_values if top_value.value not in names]
            if len(top) < len(strings.top_values):
                del strings.top_values[:]
                strings.top_values.extend(top)
            buckets = [bucket for bucket in strings.rank_histogram.buckets if bucket.label not in names]
            if len(buckets) < len(strings.rank_histogram.buckets):
                del strings.rank_histogram.buckets[:]
                strings.rank_histogram.buckets.extend(buckets)
    if pattern:
        redact(statistics, pattern)
    return statistics.SerializeToString(deterministic=True)


def _anomalies(data: bytes, pattern: re.Pattern[bytes]) -> bytes:
    from tensorflow_metadata.proto.v0 import anomalies_pb2

    anomalies = anomalies_pb2.Anomalies.FromString(data)
    redact(anomalies, pattern)
    return anomalies.SerializeToString(deterministic=True)


def _event(record: bytes, pattern: re.Pattern[bytes]) -> bytes:
    from tensorflow.core.util import event_pb2

    try:
        event = event_pb2.Event.FromString(record)
    except DecodeError:
        return record
    if not any(map(pattern.search, values_of(event))):
        return record
    redact(event, pattern)
    return event.SerializeToString(deterministic=True)


def _records(path: Path) -> list[bytes]:
    return list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())


def _write_records(path: Path, records: Sequence[bytes]) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with tf.io.TFRecordWriter(str(beside)) as writer:
        for record in records:
            writer.write(record)
    os.replace(beside, path)


def _write(path: Path, data: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(data)
    os.chmod(beside, path.stat().st_mode & 0o777)
    os.replace(beside, path)
