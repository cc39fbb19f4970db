"""What every file format of the registry promises; a new one needs a sample here, and no test of its own for this."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import importlib
import inspect
import json
import pkgutil
import resource
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

from components.span_transform import history as history_lib
from components.span_transform.erasure import erase_in_vocabulary
from pipeline.erasure import formats
from pipeline.erasure.formats.base import FileFormat, RewritableFormat
from pipeline.erasure.formats.examples import Examples
from pipeline.erasure.formats.ledger import Ledger
from pipeline.erasure.formats.messages import Anomalies, Events, Statistics
from pipeline.erasure.formats.models import ReferenceAnswers, Variables, WarmUp
from pipeline.erasure.formats.plain import Gzip, Npz, Page, Text, Unknown
from pipeline.erasure.formats.registry import FORMATS, format_of
from pipeline.erasure.formats.tables import Csv, History, Parquet
from pipeline.erasure.id_matcher import IdMatcher
from pipeline.erasure.search import search
from serving.bundle.reference_answers import Reference
from serving.bundle.warmup_requests import read_warm_up, write_warm_up
from trainer.vocabulary import Vocabulary

GONE = b"user-4711"
IDS = [b"user-47110", GONE, b"xuser-4711", b"somebody"]
OTHERS = [id_ for id_ in IDS if id_ != GONE]
SOUGHT = IdMatcher.of([GONE])
DAMAGED = b"no such format \x00" + GONE


@dataclasses.dataclass(frozen=True)
class Sample:
    """A small file of a format.

    Attributes:
      name: of the file, with the folders that tell its format.
      write: writes a file that holds a record for each id.
      read: the records, in any form that can be compared; that of an id is the same whatever others are there.
      exact: whether it is known where an id ends.
    """

    name: str
    write: Callable[[Path, list[bytes]], object]
    read: Callable[[Path], list[Any]]
    exact: bool = True


def example(id_: bytes) -> bytes:
    features = {
        "key": tf.train.Feature(bytes_list=tf.train.BytesList(value=[id_])),
        "timestamps": tf.train.Feature(int64_list=tf.train.Int64List(value=[len(id_)])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def write_examples(path: Path, ids: list[bytes]) -> None:
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for id_ in ids:
            writer.write(example(id_))


def write_events(path: Path, ids: list[bytes]) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for id_ in ids:
            event = tf.compat.v1.Event(step=len(id_))
            event.summary.value.add(tag="card").tensor.string_val.append(b"asked by " + id_)
            writer.write(event.SerializeToString())


def read_records(path: Path, compression: str = "") -> list[bytes]:
    return list(tf.data.TFRecordDataset(str(path), compression).as_numpy_iterator())


def write_statistics(path: Path, ids: list[bytes]) -> None:
    statistics = statistics_pb2.DatasetFeatureStatisticsList()
    feature = statistics.datasets.add().features.add()
    feature.path.step.append("key")
    for id_ in ids:
        feature.string_stats.top_values.add(value=id_.decode(), frequency=3)
    path.write_bytes(statistics.SerializeToString())


def read_statistics(path: Path) -> list[str]:
    statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes())
    return [value.value for value in statistics.datasets[0].features[0].string_stats.top_values]


def write_anomalies(path: Path, ids: list[bytes]) -> None:
    anomalies = anomalies_pb2.Anomalies()
    for id_ in ids:
        anomalies.anomaly_info[f"column {id_.decode()}"].description = f"Unexpected value: {id_.decode()}."
    path.write_bytes(anomalies.SerializeToString())


def read_anomalies(path: Path) -> list[tuple[str, str]]:
    anomalies = anomalies_pb2.Anomalies.FromString(path.read_bytes())
    return sorted((name, anomaly.description) for name, anomaly in anomalies.anomaly_info.items())


def write_reference(path: Path, ids: list[bytes]) -> None:
    lists, examples = [[b"x"]] * len(ids), [example(id_) for id_ in ids]
    Reference(ids, lists, lists, [[1.0]] * len(ids), examples, 1).save(path)


def read_reference(path: Path) -> list[tuple[Any, ...]]:
    reference = Reference.load(path)
    return list(zip(reference.users, reference.items, reference.scores, reference.examples, strict=True))


def write_history(path: Path, ids: list[bytes]) -> None:
    rows = {
        "key": ids,
        "items": [[b"x", b"y"]] * len(ids),
        "timestamps": [[1, 2]] * len(ids),
        "weights": [[1.0, 1.0]] * len(ids),
        "held_out": [len(id_) % 2 for id_ in ids],
    }
    counts = history_lib.Counts(span=7, held_out=sum(rows["held_out"]), keys=len(ids), events=2 * len(ids))
    history_lib.write_shard(path, [pa.table(rows, history_lib.SCHEMA)], counts)


def write_ledger(path: Path, ids: list[bytes]) -> None:
    with contextlib.closing(sqlite3.connect(path)) as store:
        store.execute("CREATE TABLE texts (value)")
        store.executemany("INSERT INTO texts VALUES (?)", [(id_.decode(),) for id_ in ids])
        store.commit()


def write_variables(path: Path, ids: list[bytes]) -> None:
    tf.raw_ops.SaveV2(
        prefix=str(path.with_name("variables")),
        tensor_names=["items/ids", "keys/ids"],
        shape_and_slices=["", ""],
        tensors=[tf.constant(ids), tf.constant(ids)],
    )


def write_requests(path: Path, ids: list[bytes]) -> None:
    path.parent.rmdir()
    write_warm_up(path.parents[1], [("serving_default", {"user_id": np.array([id_], object)}) for id_ in ids])


def write_lines(path: Path, ids: list[bytes]) -> None:
    path.write_bytes(b"".join(b"read '%s'.\n" % id_ for id_ in ids))


def read_lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


SAMPLES = {
    Ledger: Sample("metadata.sqlite", write_ledger, lambda path: [path.read_bytes()]),
    Examples: Sample("Split-train/data.gz", write_examples, lambda path: read_records(path, "GZIP")),
    Variables: Sample(
        "variables/variables.data-00000-of-00001",
        write_variables,
        lambda path: tf.train.load_checkpoint(str(path.with_name("variables"))).get_tensor("keys/ids").tolist(),
    ),
    Events: Sample("events.out.tfevents.1", write_events, read_records),
    Statistics: Sample("FeatureStats.pb", write_statistics, read_statistics),
    Anomalies: Sample("SchemaDiff.pb", write_anomalies, read_anomalies),
    ReferenceAnswers: Sample("reference.json", write_reference, read_reference),
    WarmUp: Sample(
        "assets.extra/tf_serving_warmup_requests",
        write_requests,
        lambda path: [inputs["user_id"].tolist() for _, inputs in read_warm_up(path.parents[1])],
    ),
    History: Sample(
        history_lib.shard_name(0, 1), write_history, lambda path: history_lib.read_file(path).sort_by("key").to_pylist()
    ),
    Parquet: Sample(
        "keys.parquet",
        lambda path, ids: pq.write_table(pa.table({"id": pa.array(ids, pa.binary())}), path),
        lambda path: pq.read_table(path)["id"].to_pylist(),
    ),
    Csv: Sample("rejects.csv", lambda path, ids: path.write_bytes(b'"a,b",%s\n' * len(ids) % tuple(ids)), read_lines),
    Page: Sample("run.log", write_lines, read_lines),
    Text: Sample(
        "settings.json",
        lambda path, ids: path.write_text(json.dumps([id_.decode() for id_ in ids])),
        lambda path: json.loads(path.read_text()),
    ),
    Gzip: Sample(
        "old.gz",
        lambda path, ids: path.write_bytes(gzip.compress(b"\n".join(ids))),
        lambda path: gzip.decompress(path.read_bytes()).splitlines(),
        exact=False,
    ),
    Npz: Sample(
        "arrays.npz",
        lambda path, ids: np.savez_compressed(path, ids=np.array(ids)),
        lambda path: np.load(path)["ids"].tolist(),
        exact=False,
    ),
    Unknown: Sample("model.bin", write_lines, read_lines, exact=False),
}
REWRITABLE = [kind for kind in SAMPLES if issubclass(kind, RewritableFormat)]
KEPT = [kind for kind in SAMPLES if not issubclass(kind, RewritableFormat)]


def make(kind: type[FileFormat], folder: Path, ids: list[bytes] = IDS) -> tuple[FileFormat, Path]:
    """A sample's file, and the format that the registry takes it for."""
    path = folder / SAMPLES[kind].name
    path.parent.mkdir(exist_ok=True)
    SAMPLES[kind].write(path, ids)
    return format_of(path), path


def files_in(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def classes_below(kind: type[FileFormat]) -> Iterator[type[FileFormat]]:
    for below in kind.__subclasses__():
        yield below
        yield from classes_below(below)


def test_every_format_is_registered_once_and_has_a_sample_here(tmp_path: Path) -> None:
    for module in pkgutil.iter_modules(formats.__path__, f"{formats.__name__}."):
        importlib.import_module(module.name)
    registered = [type(file_format) for file_format in FORMATS]
    written = {kind for kind in classes_below(FileFormat) if not inspect.isabstract(kind)}
    assert sorted(map(str, registered)) == sorted(map(str, written))
    assert set(registered) == set(SAMPLES)
    for kind, sample in SAMPLES.items():
        assert type(format_of(tmp_path / sample.name)) is kind


@pytest.mark.parametrize("kind", SAMPLES)
def test_an_id_counts_and_a_part_of_it_does_not(tmp_path: Path, kind: type[FileFormat]) -> None:
    file_format, path = make(kind, tmp_path)
    assert search(path, SOUGHT) == {path: file_format.count(path, SOUGHT)}
    for part in (GONE[:-1], GONE[1:]):
        assert (file_format.count(path, IdMatcher.of([part])) == 0) == SAMPLES[kind].exact
    assert file_format.count(path, IdMatcher.of([b"nobody"])) == 0
    (tmp_path / "others").mkdir()
    _, path = make(kind, tmp_path / "others", OTHERS)
    assert (file_format.count(path, SOUGHT) == 0) == SAMPLES[kind].exact


@pytest.mark.parametrize("kind", REWRITABLE)
def test_what_counted_is_gone_and_nothing_of_others_is(tmp_path: Path, kind: type[FileFormat]) -> None:
    read = SAMPLES[kind].read
    (tmp_path / "others").mkdir()
    others = read(make(kind, tmp_path / "others", OTHERS)[1])
    file_format, path = make(kind, tmp_path)
    path.chmod(0o640)
    counts = {id_: file_format.count(path, IdMatcher.of([id_])) for id_ in IDS}
    assert all(counts.values())
    assert file_format.redact(path, SOUGHT)
    assert {id_: file_format.count(path, IdMatcher.of([id_])) for id_ in IDS} == {**counts, GONE: 0}
    assert [record for record in read(path) if record in others] == others
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("kind", REWRITABLE)
def test_a_second_time_changes_nothing(tmp_path: Path, kind: type[FileFormat]) -> None:
    file_format, path = make(kind, tmp_path)
    assert file_format.redact(path, SOUGHT)
    files = files_in(tmp_path)
    assert list(files) == [path]
    assert not file_format.redact(path, SOUGHT)
    assert files_in(tmp_path) == files


@contextlib.contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Every file of this process ends at `size` bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("kind", REWRITABLE)
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, kind: type[FileFormat]) -> None:
    file_format, path = make(kind, tmp_path)
    files = files_in(tmp_path)
    with no_file_above(8), pytest.raises((OSError, tf.errors.OpError)):
        file_format.redact(path, SOUGHT)
    assert files_in(tmp_path) == files
    assert file_format.redact(path, SOUGHT)


@pytest.mark.parametrize("kind", KEPT)
def test_what_is_kept_is_counted_named_and_left_as_it_is(tmp_path: Path, kind: type[FileFormat]) -> None:
    file_format, path = make(kind, tmp_path)
    files = files_in(tmp_path)
    assert not file_format.redact(path, SOUGHT)
    assert files_in(tmp_path) == files
    assert path in search(tmp_path, SOUGHT)


def test_a_file_that_no_format_knows_is_searched_by_its_bytes(tmp_path: Path) -> None:
    for name in ("model.bin", "no-suffix", "metadata.sqlite-wal", "run.log.1"):
        path = tmp_path / name
        path.write_bytes(DAMAGED + b"0")
        assert search(path, SOUGHT) == {path: 1}
        assert search(path, IdMatcher.of([b"4711"])) == {}, "a short number may be any number"
        assert not format_of(path).redact(path, SOUGHT)
        assert path.read_bytes() == DAMAGED + b"0"


@pytest.mark.parametrize("kind", [History, Parquet, Variables, Events, Gzip, Npz])
def test_a_file_that_is_not_what_its_name_says_is_searched_by_its_bytes_and_kept(
    tmp_path: Path, kind: type[FileFormat]
) -> None:
    file_format, path = make(kind, tmp_path)
    path.write_bytes(DAMAGED)
    assert file_format.count(path, SOUGHT) == 1
    assert not file_format.redact(path, SOUGHT)
    assert path.read_bytes() == DAMAGED
    assert [beside.name for beside in path.parent.glob(".*")] == []


def test_events_that_were_cut_off_are_kept_and_named(tmp_path: Path) -> None:
    file_format, path = make(Events, tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    files = files_in(tmp_path)
    assert not file_format.redact(path, SOUGHT)
    assert files_in(tmp_path) == files
    assert path in search(tmp_path, SOUGHT)


def test_a_split_that_can_not_be_read_stops_the_erasure(tmp_path: Path) -> None:
    file_format, path = make(Examples, tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    files = files_in(tmp_path)
    for act in (file_format.count, file_format.redact):
        with pytest.raises(tf.errors.DataLossError):
            act(path, SOUGHT)
    assert files_in(tmp_path) == files


# The others are not removed while an erasure holds the locks.
@pytest.mark.parametrize("kind", [kind for kind in SAMPLES if kind not in (Ledger, Examples)])
def test_a_file_that_vanished_holds_nobody(tmp_path: Path, kind: type[FileFormat]) -> None:
    path = tmp_path / SAMPLES[kind].name
    assert format_of(path).count(path, SOUGHT) == 0
    assert not format_of(path).redact(path, SOUGHT)


def test_a_vocabulary_that_is_kept_here_loses_the_id_to_its_stand_in(tmp_path: Path) -> None:
    Vocabulary.empty(2).grow([GONE, b"somebody"], span=7, min_count=1, half_life=7.0).save(tmp_path, "keys")
    assert search(tmp_path, SOUGHT)
    erase_in_vocabulary(tmp_path, "keys", {GONE: b"forgotten-abc"})
    assert search(tmp_path, SOUGHT) == {}
