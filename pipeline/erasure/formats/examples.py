"""Splits of Examples: gzipped TFRecord files."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from pipeline.erasure.formats.base import RewritableFormat
from pipeline.erasure.id_matcher import IdMatcher
from trainer.keras2 import tf


class Examples(RewritableFormat):
    """The users' Examples go, and of others the columns that name them. Other Examples keep their bytes.

    The items' ids are the catalogue's and stay. A file that can't be read stops the erasure: in what is compressed
    nobody could look for ids.
    """

    def matches(self, path: Path) -> bool:
        return path.suffix == ".gz" and path.parent.name.startswith("Split-")

    def walk(self, path: Path, matcher: IdMatcher) -> Iterator[tuple[bytes | None, int]]:
        for record, example in _examples(path, matcher.ids):
            if example is None:
                yield record, 0
                continue
            features = example.features.feature
            counts = {
                name: sum(map(matcher.in_value, features[name].bytes_list.value)) for name in features if name != "item"
            }
            named = [name for name, times in counts.items() if times]
            whole = None if _is_of(example, matcher.ids) else record
            if whole and named:
                for name in named:
                    del features[name]
                whole = example.SerializeToString(deterministic=True)
            yield whole, sum(counts.values())

    def beside(self, path: Path) -> Path:
        # Beside the split's folder, whose every file a reader takes for a part of the split.
        return path.parent.parent / f".{path.parent.name}-{path.name}.{os.getpid()}"

    def write(self, beside: Path, parts: Iterator[bytes], path: Path) -> None:
        with tf.io.TFRecordWriter(str(beside), tf.io.TFRecordOptions("GZIP", compression_level=2)) as writer:
            for record in parts:
                writer.write(record)


def count_examples_of(path: Path, ids: Collection[bytes]) -> tuple[int, set[int]]:
    """Of a split's file, how many Examples are the users', and the times (unix milliseconds) of the events in them."""
    examples, times = 0, set[int]()
    for _, example in _examples(path, ids):
        if example is not None and _is_of(example, ids):
            examples += 1
            for name in {"timestamp", "timestamps"} & set(example.features.feature):
                times.update(example.features.feature[name].int64_list.value)
    return examples, times


def _examples(path: Path, ids: Collection[bytes]) -> Iterator[tuple[bytes, tf.train.Example | None]]:
    """Every record, with the Example in it if it may name an id: most need no parsing."""
    for record in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator():
        named = any(id_ in record for id_ in ids)
        yield record, tf.train.Example.FromString(record) if named else None


def _is_of(example: tf.train.Example, ids: Collection[bytes]) -> bool:
    features = example.features.feature
    return "key" in features and any(key in ids for key in features["key"].bytes_list.value)
