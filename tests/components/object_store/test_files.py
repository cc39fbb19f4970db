"""A day's files in a store are what they would be in a folder: which they are, what is in them, what changed."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.data_files import data_files, matching
from components.object_store import files as files_module
from components.object_store.address import StoreAddress
from components.object_store.store import AwayError, MissingError, ObjectStore
from components.span_example_gen.errors import SpanError
from components.span_example_gen.files import list_files, with_rows
from components.span_example_gen.fingerprint import DigestCache, fingerprint
from components.span_example_gen.readers import line_chunks
from components.span_example_gen.readers.column_names import column_names
from components.span_example_gen.readers.registry import plan_files, reader_of
from tests.components.object_store.folder_store import Faults, FaultyFolder

BASE = "s3://bucket/events"


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that stands for `BASE`."""
    (tmp_path / "bucket" / "events").mkdir(parents=True)
    store = ObjectStore(StoreAddress("s3://bucket"), 0.0, FaultyFolder(tmp_path, Faults()))
    monkeypatch.setattr(files_module, "store_at", lambda address: store)
    monkeypatch.setattr(
        files_module, "ObjectStore", lambda address: ObjectStore(address, 0.0, FaultyFolder(tmp_path, Faults()))
    )
    return tmp_path / "bucket" / "events"


_PARTS = st.sampled_from(
    ["2024-05-01", "2024-05-02", "2024-13-01", "_SUCCESS", ".hidden", "v1", "v2", "events.csv", "_events.csv", "a*b"]
)
_PATTERNS = [
    "{YYYY}-{MM}-{DD}/*",
    "{YYYY}-{MM}-{DD}/v{VERSION}/*.csv",
    "{YYYY}-{MM}-{DD}/_*",
    "*/{YYYY}-{MM}-{DD}/*",
    "{YYYY}-{MM}-{DD}/a*b",
]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(st.lists(_PARTS, min_size=1, max_size=3).map("/".join), max_size=6))
def test_a_listing_finds_what_a_walk_finds(names, bucket: Path) -> None:
    for path in sorted(bucket.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    for name in sorted(names):
        if any(other.startswith(f"{name}/") for other in names):
            continue  # on a disk a name is a file or a folder
        (bucket / name).parent.mkdir(parents=True, exist_ok=True)
        (bucket / name).write_text("x")
    for pattern in _PATTERNS:
        in_store, on_disk = data_files(BASE, pattern), data_files(bucket, pattern)
        assert [(file.name, file.span, file.version, file.pattern) for file in in_store] == [
            (file.name, file.span, file.version, file.pattern) for file in on_disk
        ]
        assert all(file.path == f"{BASE}/{file.name}" for file in in_store)
    assert matching(BASE, "2024-05-01/*") == matching(bucket, "2024-05-01/*")


def test_a_fingerprint_is_of_the_content_wherever_it_lies(bucket: Path, tmp_path: Path) -> None:
    (bucket / "2024-05-01").mkdir()
    (bucket / "2024-05-01" / "a.csv").write_text("user,item\n1,2\n")
    delivery = [(f"{BASE}/2024-05-01/a.csv", "2024-05-01/a.csv")]
    on_disk = [(str(bucket / "2024-05-01" / "a.csv"), "2024-05-01/a.csv")]
    assert fingerprint(delivery, DigestCache(None)) == fingerprint(on_disk, DigestCache(None))


def test_an_object_is_read_once_for_its_digest_and_again_when_it_was_written(
    bucket: Path, tmp_path, monkeypatch
) -> None:
    (bucket / "a.csv").write_text("one")
    opened: list[str] = []
    real = files_module.open_file
    monkeypatch.setattr(files_module, "open_file", lambda path: opened.append(path) or real(path))

    def digest() -> str:
        files_module.names_below(BASE)  # as every command begins
        cache = DigestCache(tmp_path / "digests.json")
        value = cache.digest(f"{BASE}/a.csv")
        cache.save()
        return value

    first = digest()
    assert digest() == first
    assert len(opened) == 1
    (bucket / "a.csv").write_text("two, and longer")
    assert digest() != first
    assert len(opened) == 2
    (bucket / "a.csv").unlink()
    (bucket / "b.csv").write_text("")
    files_module.names_below(BASE)
    cache = DigestCache(tmp_path / "digests.json")
    cache.digest(f"{BASE}/b.csv")
    cache.save()
    assert "a.csv" not in (tmp_path / "digests.json").read_text()


ROWS = pa.table({"user": [f"u{row % 7}" for row in range(5000)], "item": list(range(5000))})


def write(path: Path, format: str) -> Path:
    if format == "parquet":
        pa.parquet.write_table(ROWS, path, row_group_size=1500)
    elif format == "tfrecord":
        import tensorflow as tf

        def feature(row: dict) -> dict:
            return {
                "user": tf.train.Feature(bytes_list=tf.train.BytesList(value=[row["user"].encode()])),
                "item": tf.train.Feature(int64_list=tf.train.Int64List(value=[row["item"]])),
            }

        with tf.io.TFRecordWriter(str(path)) as writer:
            for row in ROWS.slice(0, 300).to_pylist():
                writer.write(tf.train.Example(features=tf.train.Features(feature=feature(row))).SerializeToString())
    else:
        lines = [f'{{"user": "u{row % 7}", "item": {row}}}' for row in range(5000)]
        if format == "csv":
            lines = ["user,item", *(f"u{row % 7},{row}" for row in range(5000))]
        text = "\n".join(lines).encode()
        path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


@pytest.mark.parametrize(
    ("format", "name"),
    [("csv", "a.csv"), ("csv", "a.csv.gz"), ("jsonl", "a.jsonl"), ("parquet", "a.parquet"), ("tfrecord", "a.tfrecord")],
)
def test_every_format_is_read_from_a_store_as_from_a_disk(bucket: Path, monkeypatch, format: str, name: str) -> None:
    monkeypatch.setattr(line_chunks, "PIECE_BYTES", 20_000)  # several pieces
    path = write(bucket / name, format)

    def rows(path: str) -> list:
        pieces = plan_files(format, with_rows([(path, name)]), ("user", "item"))
        _, read = reader_of(format)
        return [
            (len(pieces), batch.rows.tolist(), [batch.columns[of].to_pylist() for of in ("user", "item")])
            for piece in pieces
            for batch in read(piece, ("user", "item"))
        ]

    assert rows(f"{BASE}/{name}") == rows(str(path)) != []
    assert column_names(format, f"{BASE}/{name}", name) == column_names(format, str(path), name)


def test_a_file_without_a_row_is_passed_over(bucket: Path) -> None:
    (bucket / "empty.csv").write_text("")
    (bucket / "empty.csv.gz").write_bytes(gzip.compress(b""))
    (bucket / "full.csv").write_text("x")
    every = [(f"{BASE}/{name}", name) for name in ("empty.csv", "empty.csv.gz", "full.csv")]
    assert with_rows(every) == every[2:]


def test_a_redelivery_beside_a_pattern_without_versions_is_refused(bucket: Path) -> None:
    (bucket / "2024-05-01" / "v2").mkdir(parents=True)
    (bucket / "2024-05-01" / "a.csv").write_text("x")
    (bucket / "2024-05-01" / "v2" / "a.csv").write_text("y")
    with pytest.raises(SpanError, match=r"s3://bucket/events/2024-05-01 holds a re-delivery, the folder 'v2'"):
        list_files(BASE, "2024-05-01/*", False)


def test_a_place_is_there_if_its_bucket_is(bucket: Path) -> None:
    assert files_module.exists(BASE)
    assert files_module.exists("s3://bucket/nothing")
    assert not files_module.exists("s3://other/events")
    with pytest.raises(MissingError):
        files_module.status(f"{BASE}/nothing")


def test_bytes_are_read_from_any_place(bucket: Path) -> None:
    (bucket / "a").write_bytes(bytes(range(256)))
    with files_module.open_file(f"{BASE}/a") as file:
        file.seek(-6, 2)
        assert file.read(3) == bytes([250, 251, 252])
        file.seek(10)
        assert (file.read(2), file.tell()) == (bytes([10, 11]), 12)
        file.seek(500)
        assert file.read() == b""


def test_a_span_is_ingested_from_a_store_and_one_that_goes_away_ends_with_its_sentence(
    bucket: Path, tmp_path: Path, monkeypatch
) -> None:
    from components.span_example_gen import clean_fn
    from tests.components.span_example_gen_ingest import DAY, HEADER, START, deliver, ingest

    rows = "".join(f"u{row},f{row},{START + row}\n" for row in range(9))
    deliver(bucket, HEADER + rows)
    (bucket / DAY / "_SUCCESS").write_text("")
    done = ingest(BASE, tmp_path / "out")  # type: ignore[arg-type]
    assert (done.count("events"), done.count("rejects")) == (9, 0)

    def away(piece, columns):
        raise AwayError(f"{piece.path} must be in a store that answers.")
        yield

    monkeypatch.setattr(clean_fn, "reader_of", lambda format: (None, away))
    with pytest.raises(SpanError, match=rf"^Span {DAY} can't be read\. {BASE}/{DAY}/events\.csv must be in a store"):
        ingest(BASE, tmp_path / "again")  # type: ignore[arg-type]
    assert not list((tmp_path / "again").rglob("Split-*"))
