"""What leaves a file of each kind, and what does not, to the last value."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import tensorflow as tf
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

from components.span_transform import history as history_lib
from pipeline.erasure.formats.examples import count_examples_of
from pipeline.erasure.formats.registry import format_of
from pipeline.erasure.id_matcher import IdMatcher
from serving.bundle.reference_answers import Reference

GONE = b"user-4711"
SOUGHT = IdMatcher.of([GONE])
NUMBER = IdMatcher.of([b"6088"])


def redact(path: Path, matcher: IdMatcher) -> bool:
    return format_of(path).redact(path, matcher)


def count(path: Path, matcher: IdMatcher) -> int:
    return format_of(path).count(path, matcher)


def test_texts_lose_the_id_and_keep_all_others(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_text("read 'user-4711' and user-47110 of user-4711.csv\n")
    assert redact(path, SOUGHT)
    assert path.read_text() == "read '[forgotten]' and user-47110 of [forgotten].csv\n"
    assert not redact(path, SOUGHT)


@pytest.mark.parametrize("place", [-4, 0])
def test_an_id_across_two_reads_leaves_a_text(tmp_path: Path, place: int) -> None:
    path = tmp_path / "run.log"
    path.write_bytes(b"." * ((1 << 24) + place) + GONE + b".\n" + GONE)
    assert count(path, SOUGHT) == 2
    assert redact(path, SOUGHT)
    assert path.read_bytes().lstrip(b".") == b"[forgotten].\n[forgotten]"


def test_a_log_with_a_short_number_goes_whole_and_a_table_of_figures_stays(tmp_path: Path) -> None:
    log, figures = tmp_path / "run.log", tmp_path / "metrics.json"
    log.write_text("user 6088 or line 6088")
    figures.write_text('{"events": 6088}')
    assert redact(log, NUMBER)
    assert not log.exists()
    assert not redact(figures, NUMBER)
    assert figures.read_text() == '{"events": 6088}'


def test_rejects_lose_the_value_and_keep_the_row(tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    rows = ['a.csv,3,malformed_row,"1,user-4711,""x"', "a.csv,4,no_time,6088", "a.csv,6088,no_time,16088"]
    path.write_text("\n".join(["file,line,reason,value", *rows, ""]))
    assert redact(path, IdMatcher.of([GONE, b"6088"]))
    assert path.read_text().splitlines()[1:] == [
        'a.csv,3,malformed_row,"1,[forgotten],""x"',
        "a.csv,4,no_time,[forgotten]",
        "a.csv,[forgotten],no_time,16088",
    ]


def test_statistics_lose_the_value_and_its_rank_but_not_an_item_of_that_name(tmp_path: Path) -> None:
    statistics = statistics_pb2.DatasetFeatureStatisticsList()
    dataset = statistics.datasets.add()
    for name in ("key", "item"):
        feature = dataset.features.add()
        feature.path.step.append(name)
        for value in ("user-4711", "6088", "a"):
            feature.string_stats.top_values.add(value=value, frequency=3)
            feature.string_stats.rank_histogram.buckets.add(label=value, sample_count=3)
    path = tmp_path / "FeatureStats.pb"
    path.write_bytes(statistics.SerializeToString())
    assert redact(path, NUMBER)
    key, item = statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes()).datasets[0].features
    assert [top_value.value for top_value in key.string_stats.top_values] == ["user-4711", "a"]
    assert [bucket.label for bucket in key.string_stats.rank_histogram.buckets] == ["user-4711", "a"]
    assert len(item.string_stats.top_values) == 3
    assert redact(path, SOUGHT)
    assert count(path, SOUGHT) == 0


def test_anomalies_and_text_cards_lose_the_id(tmp_path: Path) -> None:
    anomalies = anomalies_pb2.Anomalies()
    anomalies.anomaly_info["key"].description = "Unexpected value: user-4711."
    (tmp_path / "SchemaDiff.pb").write_bytes(anomalies.SerializeToString())
    writer = tf.summary.create_file_writer(str(tmp_path / "logs"))
    with writer.as_default():
        tf.summary.text("card", "asked by user-4711", step=3)
        tf.summary.scalar("loss", 0.5, step=3)
    writer.close()
    (events,) = (tmp_path / "logs").iterdir()
    for path in (tmp_path / "SchemaDiff.pb", events):
        assert redact(path, SOUGHT)
        assert count(path, SOUGHT) == 0
    assert len(list(tf.data.TFRecordDataset(str(events)))) == 3, "the file is whole"


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
    assert redact(path, SOUGHT)
    assert sorted(history_lib.read_file(path)["key"].to_pylist()) == [b"a", b"b"]
    after = history_lib.counts_in(tmp_path)
    assert (after.span, after.keys, after.events, after.held_out) == (7, 2, 1, 0)
    assert not redact(path, SOUGHT)


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
    assert redact(path, SOUGHT)
    left = list(tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator())
    assert [left[0], *left[2:]] == [records[0], *records[3:]]
    assert set(tf.train.Example.FromString(left[1]).features.feature) == {"key", "item", "timestamps"}
    assert [path.name for path in tmp_path.iterdir()] == ["Split-train"], "nothing is left beside"
    assert not redact(path, SOUGHT)


def test_his_positions_leave_what_a_model_must_answer(tmp_path: Path) -> None:
    def example(key: bytes) -> bytes:
        feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[key]))
        return tf.train.Example(features=tf.train.Features(feature={"key": feature})).SerializeToString()

    users = [b"a", GONE, b"unknown 0"]
    examples = [example(user) for user in (b"a", GONE, GONE)]
    Reference(users, [[b"x"]] * 3, [[b"y"]] * 3, [[1.0]] * 3, examples, 1).save(tmp_path / "reference.json")
    assert redact(tmp_path / "reference.json", SOUGHT)
    left = Reference.load(tmp_path / "reference.json")
    assert (left.users, left.examples, len(left.scores)) == ([b"a"], examples[:1], 1)
    assert not redact(tmp_path / "reference.json", SOUGHT)
