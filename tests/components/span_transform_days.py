"""Days of events through the transform: writes what goes in, reads what came out."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.runners.portability import fn_api_runner

from components.span_transform import Settings, events, history, shard, vocabulary_growth
from components.span_transform.executor import transform
from components.span_transform.known_events import without_known
from tests.components.span_transform_reference import Event, HeldOut, Sequence
from trainer.held_out_parts import SELECT, VERDICT
from trainer.keras2 import tf


def write_events(folder: Path, split: str, files: list[list[Event]]) -> list[str]:
    """Writes a split as SpanExampleGen does, one TFRecord file for each list of events."""
    (folder / f"Split-{split}").mkdir(parents=True, exist_ok=True)
    paths = []
    for number, rows in enumerate(files):
        path = folder / f"Split-{split}" / f"data_tfrecord-{number:05d}-of-{len(files):05d}.gz"
        with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
            for event in rows:
                feature = {
                    "key": tf.train.Feature(bytes_list=tf.train.BytesList(value=[event.key])),
                    "item": tf.train.Feature(bytes_list=tf.train.BytesList(value=[event.item])),
                    "timestamp": tf.train.Feature(int64_list=tf.train.Int64List(value=[event.timestamp])),
                    "weight": tf.train.Feature(float_list=tf.train.FloatList(value=[event.weight])),
                    "country": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"context is left out"])),
                }
                writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
        paths.append(str(path))
    return paths


def folders(root: Path, day: int, yesterday: int | None) -> shard.Folders:
    """The folders of one day below `root`, made."""
    names = ("sequences", "held_out", "vocabulary", "history")
    for name in names:
        (root / name / str(day)).mkdir(parents=True, exist_ok=True)
    old = {name: None if yesterday is None else str(root / name / str(yesterday)) for name in names[2:]}
    return shard.Folders(
        **{name: str(root / name / str(day)) for name in names},
        yesterday_vocabulary=old["vocabulary"],
        yesterday_history=old["history"],
    )


def run_inner(files: dict[str, list[str]], shards: int, span: int, where: shard.Folders, settings: Settings) -> None:
    """What `executor.transform` does, without Beam."""
    tables = {split: [events.read_events(path) for path in files[split]] for split in files}
    if (past := where.yesterday_history) is not None:
        until = history.counts_in(past).until
        tables = {split: [without_known(table, past, until)[0] for table in tables[split]] for split in tables}
    counted = [vocabulary_growth.count_train(table, number) for number, table in enumerate(tables["train"])]
    if where.yesterday_history is not None:
        for path in history.shards_in(where.yesterday_history):
            counted.append(vocabulary_growth.count_released(history.read_held_out(path)))
    yesterday = vocabulary_growth.Vocabularies.load(where.yesterday_vocabulary, settings.oov_rows)
    today = vocabulary_growth.grow(yesterday, counted, span, settings)
    today.save(where.vocabulary)
    cut = {split: [events.partition(table, shards) for table in tables[split]] for split in tables}
    for number in range(shards):
        parts = {split: events.concat([part[number] for part in cut[split] if number in part]) for split in cut}
        shard.transform_shard(parts["train"], parts["eval"], number, shards, span, where, settings, today, yesterday)


def run_beam(files: dict[str, list[str]], shards: int, span: int, where: shard.Folders, settings: Settings) -> None:
    with beam.Pipeline(runner=fn_api_runner.FnApiRunner()) as pipeline:
        transform(pipeline, files, shards, span, where, settings)


def _records(path: Path) -> Iterator[bytes]:
    # Opened thousands of times here, for which tf.data is slow: a record is its length, a checksum, itself, a checksum.
    content, place = gzip.decompress(path.read_bytes()), 0
    while place < len(content):
        (size,) = struct.unpack_from("<Q", content, place)
        yield content[place + 12 : place + 12 + size]
        place += 16 + size


def _examples(folder: Path) -> list[dict[str, list]]:
    examples = []
    for path in sorted(folder.iterdir()):
        for record in _records(path):
            features = tf.train.Example.FromString(record).features.feature
            examples.append({name: list(getattr(f, f.WhichOneof("kind")).value) for name, f in features.items()})
    return examples


def _as(kind: type, lists: tuple[str, ...], example: dict[str, list]):
    assert set(example) == set(kind._fields)
    for name in set(kind._fields) - set(lists):
        assert len(example[name]) == 1, f"{name} has {len(example[name])} values"
    return kind(**{name: tuple(v) if name in lists else v[0] for name, v in example.items()})


def read_sequences(uri: str | Path) -> list[Sequence]:
    """The Examples of a `sequences` artifact, in order."""
    lists = ("items", "timestamps", "weights")
    return [_as(Sequence, lists, example) for example in _examples(Path(uri) / "Split-train")]


def read_held_out(uri: str | Path) -> list[HeldOut]:
    """The Examples of a `held_out` artifact, in order."""
    return [
        _as(HeldOut, ("history",), example)
        for part in (SELECT, VERDICT)
        for example in _examples(Path(uri) / f"Split-{part}")
    ]


def read_history(uri: str | Path) -> dict[bytes, dict]:
    """The rows of a `history` artifact by key."""
    rows = [row for path in sorted(Path(uri).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    by_key = {row["key"]: row for row in rows}
    assert len(by_key) == len(rows), "a key stands twice in the history"
    return by_key


def bytes_of(*uris: str | Path) -> dict[str, bytes]:
    """Every file below the folders, by its path in its folder."""
    return {
        f"{number}/{path.relative_to(uri)}": path.read_bytes()
        for number, uri in enumerate(uris)
        for path in sorted(Path(uri).rglob("*"))
        if path.is_file()
    }
