"""What each format of file gives: ids as they stand in the file, bad rows by line, other files by a sentence."""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.span_example_gen import SpanError, batch, csv_reader, text
from components.span_example_gen.batch import Piece
from tests.components.span_example_gen_ingest import COLUMNS, DAY, HEADER, START, Ingested, deliver, ingest

FILE = f"{DAY}/events.csv"
ODD_IDS = [
    "0017",
    "17850.0",
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
    "null",
]


def keys(done: Ingested) -> list[str]:
    return [event["key"].decode() for event in sorted(done.all_events, key=lambda event: event["timestamp"])]


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


def test_csv_without_quotes_keeps_ids_as_text_too(tmp_path: Path) -> None:
    ids = ["0017", "17850.0", "1e5", "🎬", " spaced ", "x" * 10_000]
    deliver(tmp_path, HEADER + "".join(f"{key},i,{START + at}\n" for at, key in enumerate(ids)))
    assert keys(ingest(tmp_path, tmp_path / "out")) == ids


@pytest.mark.parametrize("quote", ["", '"'], ids=["plain", "quoted"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "dos"])
def test_csv_rejects_name_the_physical_line(tmp_path: Path, quote: str, end: str) -> None:
    rows = [
        "user,film,at",
        f"{quote}a{quote},i,{START}",
        "",
        "b,i",
        f"b,i,{START},more",
        "",
        f",i,{START}",
        f"c,,{START}",
        "d,i,noon",
        "e,i,",
        f"f,i,{START + 86_400}",
        f"g,i,{START}",
    ]
    deliver(tmp_path, end.join(rows) + end)
    done = ingest(tmp_path, tmp_path / "out", span_hours=24, max_reject_fraction=1)
    assert done.rejects == [
        (FILE, "4", "malformed_row", "b,i"),
        (FILE, "5", "malformed_row", f"b,i,{START},more"),
        (FILE, "7", "no_key", ""),
        (FILE, "8", "no_item", ""),
        (FILE, "9", "no_time", "noon"),
        (FILE, "10", "no_time", ""),
        (FILE, "11", "outside_span", str(START + 86_400)),
    ]
    assert sorted(keys(done)) == ["a", "g"]


def test_lines_are_physical_after_values_of_several_lines(tmp_path: Path) -> None:
    deliver(tmp_path, f'{HEADER}"a\nb",i,{START}\n"c\nd\ne",i,noon\nf,i,\n')
    done = ingest(tmp_path, tmp_path / "out", max_reject_fraction=1)
    assert [reject[1:3] for reject in done.rejects] == [("4", "no_time"), ("7", "no_time")]


def test_lines_go_on_over_pieces_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "PIECE_BYTES", 500)
    monkeypatch.setattr(batch, "PIECE_BYTES", 700)
    bad = {7, 20, 21, 99}
    rows = [f"u{line},i,{'noon' if line in bad else START}" for line in range(2, 101)]
    deliver(tmp_path, HEADER + "\n".join(rows), "a.csv")
    deliver(tmp_path, HEADER + "\n".join(rows), "b.csv")
    deliver(tmp_path, gzip.compress((HEADER + "\n".join(rows)).encode()), "c.csv.gz")
    done = ingest(tmp_path, tmp_path / "out", max_reject_fraction=1)
    expected = [(f"{DAY}/{name}", str(line)) for name in ("a.csv", "b.csv", "c.csv.gz") for line in sorted(bad)]
    assert [reject[:2] for reject in done.rejects] == expected
    assert (done.count("events"), done.count("duplicates")) == (95, 190)


def test_csv_cut_in_the_middle_of_a_row(tmp_path: Path) -> None:
    deliver(tmp_path, f"{HEADER}a,i,{START}\nb,i")
    done = ingest(tmp_path, tmp_path / "out", max_reject_fraction=1)
    assert done.rejects == [(FILE, "3", "malformed_row", "b,i")]


def test_csv_cut_within_quotes(tmp_path: Path) -> None:
    deliver(tmp_path, f'{HEADER}a,i,{START}\n"b,i,{START}')
    done = ingest(tmp_path, tmp_path / "out", max_reject_fraction=1)
    assert done.rejects == [(FILE, "3", "malformed_row", f'"b,i,{START}')]


def test_a_last_row_without_a_line_end_is_a_row(tmp_path: Path) -> None:
    deliver(tmp_path, f"{HEADER}a,i,{START}")
    assert keys(ingest(tmp_path, tmp_path / "out")) == ["a"]


def test_a_quote_that_is_never_closed_loses_one_row_only(tmp_path: Path) -> None:
    good = "".join(f"u{number},i,{START + number}\n" for number in range(20_000))
    deliver(tmp_path, f'{HEADER}"a,i,{START}\n{good}')
    done = ingest(tmp_path, tmp_path / "out")
    assert done.rejects == [(FILE, "2", "malformed_row", f'"a,i,{START}')]
    assert done.count("events") == 20_000


def test_bytes_that_are_not_utf8_are_one_bad_row(tmp_path: Path) -> None:
    deliver(tmp_path, HEADER.encode() + f"a,i,{START}\n".encode() + b"caf\xe9,i,%d\n" % START)
    done = ingest(tmp_path, tmp_path / "out", max_reject_fraction=1)
    assert done.rejects == [(FILE, "3", "malformed_row", f"caf\ufffd,i,{START}")]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    deliver(tmp_path, b"\xef\xbb\xbf" + f"{HEADER}a,i,{START}\n".encode())
    assert keys(ingest(tmp_path, tmp_path / "out")) == ["a"]


def test_columns_may_stand_in_any_order_in_each_file(tmp_path: Path) -> None:
    deliver(tmp_path, f"user,film,at\na,i,{START}\n", "a.csv")
    deliver(tmp_path, f"at,x,x,film,user\n{START},,,i,b\n", "b.csv")
    assert keys(ingest(tmp_path, tmp_path / "out")) == ["a", "b"]


def test_a_file_with_other_columns_is_named(tmp_path: Path) -> None:
    deliver(tmp_path, f"User ,film,when\na,i,{START}\n")
    with pytest.raises(SpanError) as caught:
        ingest(tmp_path, tmp_path / "out")
    message = str(caught.value)
    assert f"{FILE} must have the columns" in message
    assert "Missing: 'user' (nearest: 'User '), 'at'. Found: 'User ', 'film', 'when'" in message


@pytest.mark.parametrize(
    ("content", "rule"), [("", "line of column names"), ("user,user,film,at\n", "each column once")]
)
def test_a_header_that_cannot_be_used(tmp_path: Path, content: str, rule: str) -> None:
    deliver(tmp_path, content)
    with pytest.raises(SpanError, match=rule):
        ingest(tmp_path, tmp_path / "out")


cell = st.text(st.sampled_from('ab",\n\r é'), max_size=6)


@given(st.lists(st.tuples(cell, cell, cell), max_size=12), st.sampled_from([8, 40, 1 << 20]), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_csv_writes_is_read_back_with_its_lines(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], size: int, quote_all: bool
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    stream = io.StringIO()
    writer = csv.writer(stream, quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL)
    writer.writerow(("a", "b", "c"))
    expected = []
    for row in rows:
        expected.append((stream.getvalue().count("\n") + 1, row))
        writer.writerow(row)
    path = folder / "x.csv"
    path.write_bytes(stream.getvalue().encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "PIECE_BYTES", size)
        pieces = csv_reader.plan(str(path), "x.csv", ("a", "b", "c"))
        batches = [raw for piece in pieces for raw in csv_reader.read(piece, ("a", "b", "c"))]
    found = []
    for raw in batches:
        assert not raw.malformed
        found += list(
            zip(raw.rows.tolist(), zip(*(raw.columns[name].to_pylist() for name in "abc"), strict=True), strict=True)
        )
    assert found == expected


def test_json_numbers_are_ids_as_they_stand(tmp_path: Path) -> None:
    deliver(
        tmp_path,
        f'{{"user": 17850.0, "film": 7, "at": {START}}}\n\n'
        f'{{"user": 123456789012345678901234567890, "film": "7", "at": {START}.25}}\n',
        "events.jsonl",
    )
    done = ingest(tmp_path, tmp_path / "out", format="jsonl")
    assert keys(done) == ["17850.0", "123456789012345678901234567890"]
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
    deliver_table(tmp_path, "a.parquet", user=[1.5], film=["i"], at=[START])
    with pytest.raises(SpanError, match=r"'user' holds ids, which must be strings or integers\. Received: type double"):
        ingest(tmp_path, tmp_path / "out", format="parquet")
    deliver_table(tmp_path, "a.parquet", user=[["a"]], film=["i"], at=[START])
    with pytest.raises(SpanError, match="column 'user' must hold one value a row"):
        ingest(tmp_path, tmp_path / "out", format="parquet")
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
        ("3", "malformed_row"),
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
    monkeypatch.setattr(text, "PIECE_BYTES", 60)
    monkeypatch.setattr(batch, "PIECE_BYTES", 60)
    rows = [
        json.dumps({"user": f"u{n}", "film": "i", "at": START + n, "price": n if n < 9 else n + 0.5}) for n in range(12)
    ]
    deliver(tmp_path, "\n".join(rows))
    done = ingest(tmp_path, tmp_path / "out", format="jsonl", columns={**COLUMNS, "context": ["price"]})
    assert len(done.files("train")) > 1
    assert [event["price"] for event in done.events("train")] == [n if n < 9 else n + 0.5 for n in range(12)]


def test_small_files_share_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "PIECE_BYTES", 100)
    tasks = batch.group_pieces([Piece("p", "p", size=size) for size in (40, 40, 40, 300, 10)])
    assert [[piece.size for piece in task] for task in tasks] == [[40, 40], [40], [300], [10]]
