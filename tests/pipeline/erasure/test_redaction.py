"""An id leaves a file of whatever kind, and the rest of the file is what it was."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

from pipeline.erasure.id_matcher import IdMatcher
from pipeline.erasure.journal import Journal, journal_path
from pipeline.erasure.metadata import erase_in_store
from pipeline.erasure.pending import pending_lines, read_pending
from pipeline.erasure.redaction import erase_in_file, erase_in_memory, exemplars_in
from pipeline.erasure.search import count_in
from tests.pipeline.made_store import MadeStore
from trainer.input_pipeline import Sequences
from trainer.stability.replay_memory import ReplayMemory

GONE = b"user-4711"
SOUGHT = IdMatcher.of([GONE])
NUMBER = IdMatcher.of([b"6088"])


def test_texts_lose_the_id_and_keep_all_others(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_text("read 'user-4711' and user-47110 of user-4711.csv\n")
    assert erase_in_file(path, SOUGHT)
    assert path.read_text() == "read '[forgotten]' and user-47110 of [forgotten].csv\n"
    assert not erase_in_file(path, SOUGHT)


def test_a_log_with_a_short_number_goes_whole_and_a_table_of_figures_stays(tmp_path: Path) -> None:
    log, figures = tmp_path / "run.log", tmp_path / "metrics.json"
    log.write_text("user 6088 or line 6088")
    figures.write_text('{"events": 6088}')
    assert erase_in_file(log, NUMBER)
    assert not log.exists()
    assert not erase_in_file(figures, NUMBER)
    assert figures.read_text() == '{"events": 6088}'


def test_rejects_lose_the_value_and_keep_the_row(tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    rows = ['a.csv,3,malformed_row,"1,user-4711,""x"', "a.csv,4,no_time,6088", "a.csv,6088,no_time,16088"]
    path.write_text("\n".join(["file,line,reason,value", *rows, ""]))
    assert erase_in_file(path, IdMatcher.of([GONE, b"6088"]))
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
    assert erase_in_file(path, NUMBER)
    key, item = statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes()).datasets[0].features
    assert [top_value.value for top_value in key.string_stats.top_values] == ["user-4711", "a"]
    assert [bucket.label for bucket in key.string_stats.rank_histogram.buckets] == ["user-4711", "a"]
    assert len(item.string_stats.top_values) == 3
    assert erase_in_file(path, SOUGHT)
    assert count_in(path, SOUGHT) == 0


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
        assert erase_in_file(path, SOUGHT)
        assert count_in(path, SOUGHT) == 0
    assert len(list(tf.data.TFRecordDataset(str(events)))) == 3, "the file is whole"


def test_the_store_keeps_its_texts_without_the_id_and_no_free_page_with_it(made: MadeStore) -> None:
    made.chain(1)
    (decision,) = made.store.get_artifacts_by_type("WarmspanDecision")
    decision.custom_properties["note"].string_value = f"{'x' * 50_000} asked by user-4711"
    made.store.put_artifacts([decision])
    path = made.config.root / "metadata.sqlite"
    assert count_in(path, SOUGHT)
    assert SOUGHT.pattern is not None
    assert erase_in_store(made.config, made.store, SOUGHT.pattern) == 1
    assert GONE not in path.read_bytes()
    (decision,) = made.store.get_artifacts_by_type("WarmspanDecision")
    assert decision.custom_properties["note"].string_value.endswith("asked by [forgotten]")
    assert decision.custom_properties["reason"].string_value == "As told."
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_journal_is_read_back_and_joined_with_the_next(made: MadeStore) -> None:
    journal = Journal((b"a", "ü".encode()), {4: (7,)}, (100,), (11,))
    journal.save(made.config)
    assert Journal.load(made.config) == journal
    assert "One was cut off" in pending_lines(read_pending(made.config), made.config)[0]
    other = Journal((b"b",), {4: (9,), 5: (1,)}, (200,), (12,))
    assert other.joined(Journal.load(made.config)) == Journal(
        (b"a", b"b", "ü".encode()), {4: (7, 9), 5: (1,)}, (100, 200), (11, 12)
    )
    Journal.remove(made.config)
    assert not journal_path(made.config).exists()
    assert Journal.load(made.config) is None


def test_exemplars_go_by_row_or_where_the_row_is_shared_by_time(tmp_path: Path) -> None:
    key = np.array([5, 6, 1, 1, 5])
    sequences = Sequences(
        items=np.arange(10, 15),
        timestamps=np.array([100, 200, 300, 400, 500]),
        weights=np.ones(5, np.float32),
        splits=np.arange(6),
        key=key,
        first_new=np.zeros(5, np.int64),
        first_today=np.zeros(5, np.int64),
    )
    memory = ReplayMemory(9, sequences, np.array([1, 1, 2, 2, 3]), np.arange(5, dtype=np.uint64))
    memory.save(tmp_path / "memory.npz")
    assert exemplars_in(tmp_path / "memory.npz", [5], [200, 400], 2) == 3
    assert erase_in_memory(tmp_path / "memory.npz", rows=[5], times=[200, 400], shared=2) == 3
    left = ReplayMemory.load(tmp_path / "memory.npz")
    assert left.sequences.key.tolist() == [6, 1]
    assert left.sequences.timestamps.tolist() == [200, 300]
    assert (left.budget, left.span.tolist(), left.draw.tolist()) == (9, [1, 2], [1, 2])
    assert erase_in_memory(tmp_path / "memory.npz", rows=[5], times=[200, 400], shared=2) == 0
