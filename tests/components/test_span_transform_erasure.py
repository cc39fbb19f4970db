"""Users leave the transform's files, and nothing of anybody else changes."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import tensorflow as tf

from components.span_transform import history as history_lib
from components.span_transform.erasure import (
    count_examples_of,
    erase_in_examples,
    erase_in_history,
    erase_in_vocabulary,
)
from trainer.vocabulary import Vocabulary

GONE, STAND_IN = b"user-4711", b"forgotten-abc"


def test_a_row_keeps_its_place_and_is_never_given_away(tmp_path: Path) -> None:
    seen = [b"a", GONE, GONE, b"b", b"a", b"once"]
    before = Vocabulary.empty(2).grow(seen, span=7, min_count=2, half_life=7.0).grow([b"b"], 8, 2, 7.0)
    before.save(tmp_path, "keys")
    assert erase_in_vocabulary(tmp_path, "keys", {GONE: STAND_IN}) == 1
    after = Vocabulary.load(tmp_path, "keys")
    assert before.ids.to_pylist() == [b"a", GONE, b"b"]
    assert after.ids.to_pylist() == [b"a", STAND_IN, b"b"]
    assert after.lookup([b"a", b"b"]).tolist() == before.lookup([b"a", b"b"]).tolist()
    assert after.lookup([GONE])[0] < after.first_row
    assert after.trained_counts([GONE, STAND_IN]).tolist() == [0, 0]
    assert (after.counts[[0, 2]] == before.counts[[0, 2]]).all()
    grown = after.grow([b"c", b"c", b"a"], 9, 2, 7.0)
    assert grown.lookup([b"c"])[0] == before.size, "new ids come after all rows"
    assert erase_in_vocabulary(tmp_path, "keys", {GONE: STAND_IN}) == 0


def test_who_waits_for_admission_is_dropped(tmp_path: Path) -> None:
    Vocabulary.empty(1).grow([GONE, b"b"], span=7, min_count=3, half_life=7.0).save(tmp_path, "keys")
    assert erase_in_vocabulary(tmp_path, "keys", {GONE: STAND_IN}) == 1
    assert Vocabulary.load(tmp_path, "keys").pending["id"].to_pylist() == [b"b"]


def test_a_history_loses_the_row_and_its_counts_follow(tmp_path: Path) -> None:
    rows = {
        "key": [b"a", GONE, b"b"],
        "items": [[b"x"], [b"x", b"y"], []],
        "timestamps": [[1], [2, 3], []],
        "weights": [[1.0], [1.0, 1.0], []],
        "held_out": [0, 1, 0],
    }
    path = tmp_path / history_lib.shard_name(0, 1)
    counts = history_lib.Counts(span=7, new_events=2, held_out=1, sequences=2, keys=3, events=3)
    history_lib.write_shard(path, [pa.table(rows, history_lib.SCHEMA)], counts)
    assert erase_in_history(path, [GONE]) == 1
    assert sorted(history_lib.read_file(path)["key"].to_pylist()) == [b"a", b"b"]
    after = history_lib.counts_in(tmp_path)
    assert (after.span, after.keys, after.events, after.held_out) == (7, 2, 1, 0)
    assert erase_in_history(path, [GONE]) == 0


def test_examples_of_others_keep_their_bytes_and_lose_only_what_names_him(tmp_path: Path) -> None:
    def example(**features: bytes) -> bytes:
        made = {
            name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for name, value in features.items()
        }
        made["timestamps"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[17]))
        return tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString()

    path = tmp_path / "Split-train" / "data.gz"
    path.parent.mkdir()
    records = [
        example(key=b"a", item=b"x"),
        example(key=GONE, item=b"x"),
        example(key=b"b", item=b"x", friend=GONE),
        example(key=b"c", item=GONE),
        example(key=GONE + b"2", item=b"x"),
    ]
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for record in records:
            writer.write(record)
    assert count_examples_of(path, [GONE]) == (1, {17})
    assert erase_in_examples(path, [GONE]) == 1
    left = list(tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator())
    assert [left[0], *left[2:]] == [records[0], *records[3:]]
    assert set(tf.train.Example.FromString(left[1]).features.feature) == {"key", "item", "timestamps"}
    assert [path.name for path in tmp_path.iterdir()] == ["Split-train"], "nothing is left beside"
    assert erase_in_examples(path, [GONE]) == 0
