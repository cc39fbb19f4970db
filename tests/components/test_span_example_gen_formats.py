"""What each format of file gives: ids as they stand in the file, bad rows by line, other files by a sentence."""

from __future__ import annotations

import csv
import datetime
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
import tensorflow as tf

from components.span_example_gen import SpanError
from components.span_example_gen.readers import line_chunks, raw_batch
from components.span_example_gen.readers.raw_batch import FilePiece
from tests.components.span_example_gen_ingest import COLUMNS, FILE, HEADER, START, deliver, ingest, keys

ODD_IDS = [
    "0017",
    "17850",
    "85123a",
    "85123A",
    "1e5",
    "a,b",
    'say "hi"',
    "two\nlines",
    "dos\r\nlines",
    "🎬 film",
    " spaced ",
    "x" * 10_000,
    "NA",
    "nil",
]


def quoted(rows: list[tuple[object, ...]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return HEADER + out.getvalue()


def example(**values: Any) -> bytes:
    features = {}
    for name, value in values.items():
        many = value if isinstance(value, list) else [value]
        if isinstance(many[0], bytes):
            features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=many))
        elif isinstance(many[0], float):
            features[name] = tf.train.Feature(float_list=tf.train.FloatList(value=many))
        else:
            features[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=many))
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def deliver_records(base: Path, records: list[bytes], name: str = "events.tfrecord") -> Path:
    path = deliver(base, b"", name)
    with tf.io.TFRecordWriter(str(path), "GZIP" if name.endswith(".gz") else "") as writer:
        for record in records:
            writer.write(record)
    return path


def deliver_table(base: Path, name: str = "events.parquet", **columns: Any) -> Path:
    path = deliver(base, b"", name)
    pa.parquet.write_table(pa.table(columns), path, row_group_size=2)
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "tfrecord"])
def test_ids_come_out_as_they_went_in(tmp_path: Path, kind: str) -> None:
    rows = [(key, "i", START + number) for number, key in enumerate(ODD_IDS)]
    if kind == "csv":
        deliver(tmp_path, quoted(rows))
    elif kind == "jsonl":
        objects = [json.dumps(dict(zip(("user", "film", "at"), row, strict=True)), ensure_ascii=False) for row in rows]
        deliver(tmp_path, "\n".join(objects), "events.jsonl")
    elif kind == "parquet":
        users, films, times = zip(*rows, strict=True)
        deliver_table(tmp_path, user=users, film=films, at=times)
    else:
        deliver_records(tmp_path, [example(user=user.encode(), film=b"i", at=at) for user, _, at in rows])
    assert keys(ingest(tmp_path, tmp_path / "out", format=kind)) == ODD_IDS


def test_json_numbers_are_ids_as_they_stand(tmp_path: Path) -> None:
    deliver(
        tmp_path,
        f'{{"user": 17850.0, "film": 7, "at": {START}}}\n\n'
        f'{{"user": 123456789012345678901234567890, "film": "7", "at": {START}.25}}\n',
        "events.jsonl",
    )
    done = ingest(tmp_path, tmp_path / "out", format="jsonl")
    assert keys(done) == ["17850", "123456789012345678901234567890"]
    assert [event["timestamp"] for event in done.all_events] == [START * 1000, START * 1000 + 250]


def test_json_rejects_name_the_line(tmp_path: Path) -> None:
    good = f'{{"user": "a", "film": "i", "at": {START}}}'
    deliver(
        tmp_path, "\n".join([good, '{"user": "a", "fil', "[1]", "", '{"film": "i", "at": 1}', '{"user": null}', good])
    )
    done = ingest(tmp_path, tmp_path / "out", format="jsonl", max_reject_fraction=1)
    assert done.rejects == [
        (FILE, "2", "malformed_row", '{"user": "a", "fil'),
        (FILE, "3", "malformed_row", "[1]"),
        (FILE, "5", "no_key", ""),
        (FILE, "6", "no_key", ""),
    ]


def test_json_with_other_names_is_named(tmp_path: Path) -> None:
    deliver(tmp_path, '{"users": "a", "film": "i", "at": 1}\n', "events.jsonl")
    with pytest.raises(SpanError, match=r"Missing: 'user' \(nearest: 'users'\)"):
        ingest(tmp_path, tmp_path / "out", format="jsonl")


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([7, 8, 9], pa.int32()),
        pa.array(["7", "8", "9"]).dictionary_encode(),
        pa.array(["7", "8", "9"], pa.large_string()),
        pa.array([b"7", b"8", b"9"]),
        pa.array([7, 8, 9], pa.uint64()),
    ],
    ids=lambda ids: str(ids.type).split("<")[0],
)
def test_parquet_ids_of_every_type_become_strings(tmp_path: Path, ids: pa.Array) -> None:
    deliver_table(tmp_path, user=ids, film=["i"] * 3, at=[START, START + 1, START + 2])
    assert keys(ingest(tmp_path, tmp_path / "out", format="parquet")) == ["7", "8", "9"]


def test_parquet_rejects_name_the_row_over_row_groups(tmp_path: Path) -> None:
    deliver_table(
        tmp_path, user=["a", "b", None, "d", ""], film=["i"] * 5, at=pa.array([START, None, START, START, START])
    )
    done = ingest(tmp_path, tmp_path / "out", format="parquet", max_reject_fraction=1)
    assert [reject[1:3] for reject in done.rejects] == [("2", "no_time"), ("3", "no_key"), ("5", "no_key")]


def test_a_column_of_nulls_alone_is_rejected_row_by_row(tmp_path: Path) -> None:
    deliver_table(tmp_path, user=pa.nulls(3), film=["i"] * 3, at=[START] * 3)
    with pytest.raises(SpanError, match="no_key: 3"):
        ingest(tmp_path, tmp_path / "out", format="parquet")


def test_parquet_of_another_schema_is_named(tmp_path: Path) -> None:
    deliver_table(tmp_path, "a.parquet", user=["a"], movie=["i"], at=[START])
    with pytest.raises(SpanError, match="Missing: 'film'"):
        ingest(tmp_path, tmp_path / "out", format="parquet")


def test_a_cut_parquet_file_is_an_error(tmp_path: Path) -> None:
    path = deliver_table(tmp_path, user=["a"] * 9, film=["i"] * 9, at=[START] * 9)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SpanError, match="must be a whole Parquet file"):
        ingest(tmp_path, tmp_path / "out", format="parquet")


@pytest.mark.parametrize("name", ["events.tfrecord", "events.tfrecord.gz"])
def test_examples_are_read_with_their_bad_records(tmp_path: Path, name: str) -> None:
    deliver_records(
        tmp_path,
        [
            example(user=7, film=b"i", at=START),
            b"\xffno example",
            example(user=8, film=[b"i", b"j"], at=START),
            example(film=b"i", at=START),
            example(user=9, film=b"i", at=START + 1),
        ],
        name,
    )
    done = ingest(tmp_path, tmp_path / "out", format="tfrecord", max_reject_fraction=1)
    assert keys(done) == ["7", "9"]
    assert [reject[1:3] for reject in done.rejects] == [
        ("2", "malformed_row"),
        ("3", "bad_item"),
        ("4", "no_key"),
    ]


def test_a_cut_tfrecord_file_is_an_error(tmp_path: Path) -> None:
    path = deliver_records(tmp_path, [example(user=b"a", film=b"i", at=START)] * 3)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(SpanError, match="must be a whole TFRecord file"):
        ingest(tmp_path, tmp_path / "out", format="tfrecord")


def test_context_keeps_names_and_types(tmp_path: Path) -> None:
    columns = {**COLUMNS, "context": ["page", "price", "count"]}
    context = {"page": ["x", None], "price": pa.array([0.1, None], pa.float64()), "count": [None, -7]}
    deliver_table(tmp_path / "parquet", user=["a", "b"], film=["i", "i"], at=[START, START + 1], **context)
    objects = [
        {"user": "a", "film": "i", "at": START, "page": "x", "price": 0.1, "count": None},
        {"user": "b", "film": "i", "at": START + 1, "page": None, "count": -7},
    ]
    deliver(tmp_path / "jsonl", "\n".join(map(json.dumps, objects)), "events.jsonl")
    records = [
        example(user=b"a", film=b"i", at=START, page=b"x", price=0.1),
        example(user=b"b", film=b"i", at=START + 1, count=-7),
    ]
    deliver_records(
        tmp_path / "tfrecord", [example(user=b"a", film=b"i", at=START, page=b"x", price=0.1, count=1), *records]
    )
    for kind in ("parquet", "jsonl", "tfrecord"):
        done = ingest(tmp_path / kind, tmp_path / kind / "out", format=kind, columns=columns)
        first, second = done.events("train")[-2:]
        assert first == {
            "key": b"a",
            "item": b"i",
            "timestamp": START * 1000,
            "weight": 1.0,
            "page": b"x",
            "price": pytest.approx(0.1),
        }
        assert second == {"key": b"b", "item": b"i", "timestamp": START * 1000 + 1000, "weight": 1.0, "count": -7}


def test_parquet_context_of_other_types(tmp_path: Path) -> None:
    day = datetime.datetime(2013, 5, 3, 12)
    context = {
        "member": [True, None, False],
        "since": [day, None, day],
        "big": pa.array([2**63, 1, 2], pa.uint64()),
        "raw": [b"\xff", None, b""],
        "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
        "none": pa.nulls(3),
    }
    deliver_table(tmp_path, user=["a", "b", "c"], film=["i"] * 3, at=[START] * 3, **context)
    done = ingest(tmp_path, tmp_path / "out", format="parquet", columns={**COLUMNS, "context": list(context)})
    first, second, third = done.events("train")
    assert {name: first.get(name) for name in context} == {
        "member": 1,
        "since": b"2013-05-03 12:00:00.000000",
        "big": b"9223372036854775808",
        "raw": b"\xff",
        "kind": b"x",
        "none": None,
    }
    assert {name: second.get(name) for name in context} == {
        "member": None,
        "since": None,
        "big": b"1",
        "raw": None,
        "kind": b"y",
        "none": None,
    }
    assert (third["member"], third["raw"]) == (0, b"")


def test_csv_context_is_bytes_and_an_empty_field_is_missing(tmp_path: Path) -> None:
    deliver(tmp_path, f"user,film,at,zip\na,i,{START},01234\nb,i,{START},\n")
    done = ingest(tmp_path, tmp_path / "out", columns={**COLUMNS, "context": ["zip"]})
    assert [event.get("zip") for event in done.events("train")] == [b"01234", None]


def test_json_numbers_with_and_without_fraction_are_one_float_feature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_chunks, "PIECE_BYTES", 60)
    monkeypatch.setattr(raw_batch, "PIECE_BYTES", 60)
    rows = [
        json.dumps({"user": f"u{n}", "film": "i", "at": START + n, "price": n if n < 9 else n + 0.5}) for n in range(12)
    ]
    deliver(tmp_path, "\n".join(rows))
    done = ingest(tmp_path, tmp_path / "out", format="jsonl", columns={**COLUMNS, "context": ["price"]})
    assert len(done.files("train")) > 1
    assert [event["price"] for event in done.events("train")] == [n if n < 9 else n + 0.5 for n in range(12)]


def test_small_files_share_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_batch, "PIECE_BYTES", 100)
    tasks = raw_batch.group_pieces([FilePiece("p", "p", size=size) for size in (40, 40, 40, 300, 10)])
    assert [[piece.size for piece in task] for task in tasks] == [[40, 40], [40], [300], [10]]
