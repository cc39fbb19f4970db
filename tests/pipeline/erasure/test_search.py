"""The search finds an id in whatever a pipeline root holds, compressed or not, and nothing else."""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from pipeline.erasure.id_matcher import IdMatcher
from pipeline.erasure.search import search

ID = "u-4711 ü".encode()


def example(path: Path, **features: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = {name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for name, value in features.items()}
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        writer.write(tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString())


def hide(folder: Path, id_: bytes) -> list[Path]:
    """One file of every kind that holds `id_`."""
    example(folder / "Split-train" / "data.gz", key=id_)
    pq.write_table(pa.table({"key": pa.array([b"a", id_], pa.binary())}), folder / "keys.parquet", compression="zstd")
    np.savez_compressed(folder / "one.npz", ids=np.array([id_]))
    (folder / "one.log").write_bytes(b"2024 INFO read " + id_ + b" again")
    (folder / "utf8.json").write_text(json.dumps({"user": id_.decode()}))
    (folder / "bytes.json").write_text(json.dumps({"user": id_.decode("latin-1")}))
    (folder / "old.txt.gz").write_bytes(gzip.compress(b"x" * 10_000 + b" " + id_))
    store = sqlite3.connect(folder / "metadata.sqlite")
    store.execute("CREATE TABLE t (a)")
    store.execute("INSERT INTO t VALUES (?)", (id_.decode(),))
    store.commit()
    store.close()
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_an_id_is_found_in_every_kind_of_file(tmp_path: Path) -> None:
    paths = hide(tmp_path, ID)
    assert sorted(search(tmp_path, IdMatcher.of([ID]))) == paths
    part = search(tmp_path, IdMatcher.of([b"u-471"]))
    assert {path.name for path in part} == {"old.txt.gz", "one.npz"}, "of bytes nobody knows where an id ends"
    assert search(tmp_path, IdMatcher.of([ID]), skip=set(paths)) == {}
    assert search(tmp_path / "not-there", IdMatcher.of([ID])) == {}


@pytest.mark.parametrize("place", range((1 << 24) - 12, (1 << 24) + 3, 3))
def test_an_id_across_two_reads_is_found_once(tmp_path: Path, place: int) -> None:
    (tmp_path / "large").write_bytes(b"." * place + ID + b"." * 100)
    assert search(tmp_path / "large", IdMatcher.of([ID])) == {tmp_path / "large": 1}


def test_a_short_number_counts_where_it_is_an_id_and_not_where_it_is_a_number(tmp_path: Path) -> None:
    matcher = IdMatcher.of([b"6088"])
    example(tmp_path / "Split-train" / "user.gz", key=b"6088", item=b"1")
    example(tmp_path / "Split-train" / "item.gz", key=b"1", item=b"6088")
    pq.write_table(pa.table({"id": pa.array([b"6088"])}), tmp_path / "keys.parquet")
    pq.write_table(pa.table({"id": pa.array([b"6088"])}), tmp_path / "items.parquet")
    (tmp_path / "rejects.csv").write_text("file,line,reason,value\na.csv,7,no_time,6088\nb.csv,7,no_time,16088\n")
    (tmp_path / "metrics.json").write_text('{"events": 6088}')
    (tmp_path / "run.log").write_text("user 6088 at 16088.")
    counts = {path.name: count for path, count in search(tmp_path, matcher).items()}
    assert counts == {"user.gz": 1, "keys.parquet": 1, "rejects.csv": 1, "run.log": 1}
