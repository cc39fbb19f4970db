"""Takes users out of what the transform has written: history, vocabularies, sequences. No row of anybody else moves."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.span_transform import history as history_lib
from trainer.atomic_write import atomic_write
from trainer.keras2 import tf
from trainer.vocabulary import Vocabulary

_NEVER = -1


def erase_in_history(path: Path, ids: Collection[bytes]) -> int:
    """Removes the users' rows from a shard; returns how many there were."""
    table = history_lib.read_file(path)
    of_users = pc.is_in(table["key"], value_set=pa.array(list(ids), pa.binary()))
    if not (gone := pc.sum(of_users).as_py() or 0):
        return 0
    removed = table.filter(of_users)
    counts = history_lib.counts_of(path)
    counts = dataclasses.replace(
        counts,
        keys=counts.keys - gone,
        events=counts.events - int(history_lib.lengths(removed["items"]).sum()),
        held_out=counts.held_out - int(pc.sum(removed["held_out"]).as_py()),
    )
    history_lib.write_shard(path, [table.filter(pc.invert(of_users))], counts)
    return gone


def erase_in_vocabulary(folder: Path, name: str, ids: Mapping[bytes, bytes]) -> int:
    """Puts the stand-in of each id into its place, with nothing known of it; returns how many ids there were.

    Args:
      folder: of the vocabularies.
      name: of one of them.
      ids: id to its stand-in, which keeps the row from being given to another.
    """
    vocabulary = Vocabulary.load(folder, name)
    of_users = np.array([id_ in ids for id_ in vocabulary.ids.to_pylist()], bool)
    waiting = np.array([id_ in ids for id_ in vocabulary.pending["id"].to_pylist()], bool)
    if not of_users.any() and not waiting.any():
        return 0
    dataclasses.replace(
        vocabulary,
        ids=pa.array([ids.get(id_, id_) for id_ in vocabulary.ids.to_pylist()], pa.binary()),
        counts=np.where(of_users, 0, vocabulary.counts),
        recent=np.where(of_users, 0.0, vocabulary.recent),
        first_span=np.where(of_users, _NEVER, vocabulary.first_span),
        last_span=np.where(of_users, _NEVER, vocabulary.last_span),
        pending=vocabulary.pending.filter(pa.array(~waiting)),
    ).save(folder, name)
    return int(of_users.sum() + waiting.sum())


def count_examples_of(path: Path, ids: Collection[bytes]) -> tuple[int, set[int]]:
    """Of a gzipped TFRecord file, how many Examples are the users', and the times of the events in them."""
    examples, times = 0, set[int]()
    for record in _records(path):
        if _is_of(record, ids):
            examples += 1
            features = tf.train.Example.FromString(record).features.feature
            for name in ("timestamp", "timestamps"):
                times.update(features[name].int64_list.value)
    return examples, times


def named_in(path: Path, ids: Collection[bytes], count: Callable[[bytes], int]) -> int:
    """The sum of `count` over all values of Examples that hold one of `ids`, those of items left out."""
    total = 0
    for record in _records(path):
        if _mentions(record, ids):
            features = tf.train.Example.FromString(record).features.feature
            values = [value for name in features if name != "item" for value in features[name].bytes_list.value]
            total += sum(map(count, values))
    return total


def erase_in_examples(path: Path, ids: Collection[bytes], names: Callable[[bytes], int] | None = None) -> int:
    """Removes the users' Examples, and of others the columns that name them; returns how many Examples went.

    Other Examples keep their bytes. The items' ids are the catalogue's and stay.

    Args:
      path: a gzipped TFRecord file.
      ids: of the users.
      names: whether a value names one of them; whether it is one of them if not given.
    """
    named = names or (lambda value: int(value in ids))
    kept, gone, changed = [], 0, False
    for record in _records(path):
        if not _mentions(record, ids):
            kept.append(record)
        elif _is_of(record, ids):
            gone += 1
        else:
            cleaned = _cleaned(record, named)
            changed |= cleaned != record
            kept.append(cleaned)
    if gone or changed:
        # Beside the split's folder, whose every file a reader takes for a part of the split.
        beside = path.parent.parent / f".{path.parent.name}-{path.name}.{os.getpid()}"
        options = tf.io.TFRecordOptions("GZIP", compression_level=2)
        with atomic_write(path, beside=beside), tf.io.TFRecordWriter(str(beside), options) as writer:
            for record in kept:
                writer.write(record)
    return gone


def _records(path: Path) -> list[bytes]:
    return list(tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator())


def _mentions(record: bytes, ids: Collection[bytes]) -> bool:
    return any(id_ in record for id_ in ids)


def _is_of(record: bytes, ids: Collection[bytes]) -> bool:
    if not _mentions(record, ids):  # most need no parsing
        return False
    return any(key in ids for key in tf.train.Example.FromString(record).features.feature["key"].bytes_list.value)


def _cleaned(record: bytes, named: Callable[[bytes], int]) -> bytes:
    example = tf.train.Example.FromString(record)
    features = example.features.feature
    named_features = [name for name in features if name != "item" and any(map(named, features[name].bytes_list.value))]
    for name in named_features:
        del features[name]
    return example.SerializeToString(deterministic=True) if named_features else record
