"""Times, weights, reject rules, the order of reasons; hashes and the encoding of Examples."""

from __future__ import annotations

import datetime
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from components.span_example_gen.encoding import encode_examples
from components.span_example_gen.hashing import hash_events
from components.span_example_gen.shards import united_kinds
from components.span_example_gen.times import to_milliseconds
from tests.components.span_example_gen_ingest import COLUMNS, HEADER, START, deliver, ingest


def read_time(value: object, unit: str = "s", format: str | None = None) -> int | None:
    millis, valid = to_milliseconds(pa.array([value]), unit, format)
    return int(millis[0]) if valid[0] else None


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        ("1362096054", "s", 1362096054000),
        (" 1362096054 ", "s", 1362096054000),
        ("1362096054123", "ms", 1362096054123),
        ("1362096054123999", "us", 1362096054123),
        ("1362096054123999999", "ns", 1362096054123),
        ("1362096054.123", "s", 1362096054123),
        ("1.362096054e9", "s", 1362096054000),
        ("-1", "s", -1000),
        ("+5", "s", 5000),
        (1362096054, "s", 1362096054000),
        (1362096054.25, "s", 1362096054250),
        ("2010-12-01", "s", 1291161600000),
        ("2010-12-01 08:26", "ms", 1291191960000),
        ("2010-12-01T08:26:00.123456789", "s", 1291191960123),
        ("2010-12-01T08:26:00,5", "s", 1291191960500),
        ("2010-12-01T08:26:00Z", "s", 1291191960000),
        ("2010-12-01T08:26:00.999999999z", "s", 1291191960999),
        ("2010-12-01 08:26:00+01:00", "s", 1291188360000),
        ("2010-12-01 08:26:00 -0130", "s", 1291197360000),
        ("2010-12-01T08:26:00+01", "s", 1291188360000),
        ("2010-12-01 08:26:00 UTC", "s", 1291191960000),
        ("2010-12-01 08:26:00.25 UTC", "s", 1291191960250),
        ("2010-12-01T08:26:00,25Z", "s", 1291191960250),
        ("2010-12-01 08:26:00 gmt", "s", 1291191960000),
        ("2010-12-01 08:26:00 +0000 UTC", "s", 1291191960000),
        ("2010-12-01 08:26:00 +0100 UTC", "s", None),
        ("2010-12-01 08:26:00 CET", "s", None),
        (datetime.datetime(2010, 12, 1, 8, 26), "s", 1291191960000),
        (datetime.date(2010, 12, 1), "s", 1291161600000),
        ("1362096054123", "s", None),
        ("99999999999999999999", "s", None),
        ("0x10", "s", None),
        ("1_000", "s", None),
        ("nan", "s", None),
        ("1e400", "s", None),
        ("2010-13-01", "s", None),
        ("2010-02-30 00:00:00", "s", None),
        ("01.12.2010", "s", None),
        ("noon", "s", None),
        ("", "s", None),
        (float("inf"), "s", None),
        (10**18, "s", None),
    ],
)
def test_times_are_read_as_milliseconds(value: object, unit: str, expected: int | None) -> None:
    assert read_time(value, unit) == expected


@pytest.mark.parametrize(
    ("value", "format", "expected"),
    [
        ("01.12.2010 08:26", "%d.%m.%Y %H:%M", 1291191960000),
        ("12/1/10 8:26 AM", "%m/%d/%y %I:%M %p", 1291191960000),
        ("01/Dec/2010:08:26:00 +0100", "%d/%b/%Y:%H:%M:%S %z", 1291188360000),
        ("2010-12-01 08:26:00.5", "%Y-%m-%d %H:%M:%S.%f", 1291191960500),
        ("2010-12-01", "%d.%m.%Y", None),
        ("01.12.2010 tail", "%d.%m.%Y", None),
        ("31.02.2010", "%d.%m.%Y", None),
        ("1362096054", "%d.%m.%Y", None),
    ],
)
def test_times_after_a_pattern_of_the_user(value: str, format: str, expected: int | None) -> None:
    assert read_time(value, format=format) == expected


def test_times_of_many_shapes_in_one_column() -> None:
    column = pa.array(["1362096054", "x", "2010-12-01", "1.5", "2010-12-01T00:00:00+01:00", None, "2010-99-01"])
    millis, valid = to_milliseconds(column, "s", None)
    assert valid.tolist() == [True, False, True, True, True, False, False]
    assert millis[valid].tolist() == [1362096054000, 1291161600000, 1500, 1291158000000]


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_every_instant_survives_every_writing(millis: int) -> None:
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=millis)
    assert read_time(millis, "ms") == millis
    assert read_time(str(millis), "ms") == millis
    assert read_time(moment.isoformat(sep=" ")) == millis
    assert read_time(f"{moment.isoformat()}Z") == millis
    assert read_time(moment) == millis


def weigh(folder: Path, weights: list[str], **options: object) -> tuple[list[float], list[str]]:
    rows = "".join(f"u{n},i,{START},{weight}\n" for n, weight in enumerate(weights))
    deliver(folder, f"user,film,at,stars\n{rows}")
    columns = {**COLUMNS, "weight": "stars"}
    done = ingest(folder, folder / "out", columns=columns, max_reject_fraction=1, **options)
    assert {reason for _, _, reason, _ in done.rejects} <= {"bad_weight"}
    return [event["weight"] for event in done.events("train")], [value for *_, value in done.rejects]


def test_weights_must_be_finite_numbers(tmp_path: Path) -> None:
    good, bad = weigh(tmp_path, ["1", " 2.5 ", "+3", "-4", "1e3", "", "many", "nan", "inf", "1e39", "0x1"])
    assert good == [1.0, 2.5, 3.0, -4.0, 1000.0]
    assert bad == ["", "many", "nan", "inf", "1e39", "0x1"]


def test_weights_must_be_above_the_limit(tmp_path: Path) -> None:
    assert weigh(tmp_path, ["0", "-1", "0.1", "1"], weight_above=0) == ([pytest.approx(0.1), 1.0], ["0", "-1"])
    assert weigh(tmp_path, ["0.1", "0.2"], weight_above=0.1) == ([pytest.approx(0.2)], ["0.1"])


def test_rules_match_from_the_start_as_python_does(tmp_path: Path) -> None:
    deliver(
        tmp_path, f"order,{HEADER}C1,a,i,{START}\nAC1,b,i,{START}\n,c,i,{START}\n\u0661,d,i,{START}\nT9,e,i,{START}\n"
    )
    rules = [
        {"column": "order", "matches": "C", "reason": "cancellation"},
        {"column": "order", "matches": "$", "reason": "no_order"},
        {"column": "order", "matches": r"\d", "reason": "digits"},
        {"column": "order", "matches": r"T(?!1)", "reason": "test_order"},
    ]
    done = ingest(tmp_path, tmp_path / "out", reject=rules, max_reject_fraction=1)
    assert [reject[1:] for reject in done.rejects] == [
        ("2", "cancellation", "C1"),
        ("4", "no_order", ""),
        ("5", "digits", "\u0661"),
        ("6", "test_order", "T9"),
    ]


def test_the_first_reason_wins(tmp_path: Path) -> None:
    bad = START + 86_400
    rows = [
        "C,,,x,x",
        "A,,,x,x",
        "A,a,,x,x",
        "A,a,i,x,x",
        f"A,a,i,{bad},x",
        f"A,a,i,{START},x",
        f"A,a,i,{START},1",
        "C",
    ]
    deliver(tmp_path, "order,user,film,at,stars\n" + "\n".join(rows))
    done = ingest(
        tmp_path,
        tmp_path / "out",
        columns={**COLUMNS, "weight": "stars"},
        reject=[{"column": "order", "matches": "C", "reason": "cancellation"}],
        span_hours=24,
        max_reject_fraction=1,
    )
    reasons = ["cancellation", "no_key", "no_item", "no_time", "early", "bad_weight", "malformed_row"]
    assert [reject[2] for reject in done.rejects] == reasons
    assert done.reasons == dict.fromkeys(reasons, 1)


def test_an_id_of_spaces_is_no_id(tmp_path: Path) -> None:
    deliver(tmp_path, f"{HEADER}a,\u00a0 ,{START}\n  ,i,{START}\nb,i,{START}\n")
    done = ingest(tmp_path, tmp_path / "out", max_reject_fraction=1)
    assert [reject[2] for reject in done.rejects] == ["no_item", "no_key"]


def test_rejected_values_are_quoted_and_shortened(tmp_path: Path) -> None:
    deliver(tmp_path, f'{HEADER}"a",i,"say ""no"",\nplease"\n"b",i,{"9" * 5000}\n"c",i,{START}\n')
    done = ingest(tmp_path, tmp_path / "out", max_reject_fraction=1)
    assert [reject[3] for reject in done.rejects] == ['say "no",\nplease', "9" * 1000 + "…"]


def events(*rows: tuple[str, str, int, float, bytes | None]) -> pa.RecordBatch:
    key, item, at, weight, page = zip(*rows, strict=True)
    types = {
        "key": pa.string(),
        "item": pa.string(),
        "timestamp": pa.int64(),
        "weight": pa.float32(),
        "page": pa.binary(),
    }
    columns = dict(zip(types, (key, item, at, weight, page), strict=True))
    return pa.RecordBatch.from_pydict({name: pa.array(values, types[name]) for name, values in columns.items()})


ids = st.text(st.sampled_from("ab\0é"), max_size=3)
rows = st.tuples(ids, ids, st.integers(-1, 1), st.sampled_from([0.0, 1.0]), st.sampled_from([None, b"", b"\0", b"a"]))


@given(st.lists(rows, min_size=1, max_size=40), st.integers(0, 40))
def test_equal_events_and_only_they_have_equal_hashes(table: list[tuple], split: int) -> None:
    hashes = [tuple(pair) for pair in hash_events(events(*table)).tolist()]
    assert len(set(hashes)) == len(set(table))
    assert len(set(zip(hashes, table, strict=True))) == len(set(table))
    parts = [hash_events(events(*table).slice(0, split)), hash_events(events(*table).slice(split))]
    assert np.concatenate(parts).tolist() == [list(pair) for pair in hashes]


def test_hashes_do_not_depend_on_longer_neighbours() -> None:
    alone, together = (
        events(("a", "b", 1, 1.0, b"c")),
        events(("a", "b", 1, 1.0, b"c"), ("x" * 10_000, "b", 1, 1.0, b"c")),
    )
    assert hash_events(alone)[0].tolist() == hash_events(together)[0].tolist()


@given(
    st.lists(
        st.tuples(
            st.binary(max_size=300),
            st.one_of(st.none(), st.text(max_size=20)),
            st.integers(-(2**63), 2**63 - 1),
            st.one_of(st.none(), st.floats(width=32, allow_nan=False)),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_examples_are_protobufs_deterministic_form(table: list[tuple]) -> None:
    raw, text, number, real = zip(*table, strict=True)
    batch = pa.RecordBatch.from_pydict(
        {
            "z": pa.array(raw, pa.binary()),
            "ä": pa.array(text, pa.string()),
            "n": pa.array(number, pa.int64()),
            "f": pa.array(real, pa.float32()),
            "never": pa.nulls(len(raw), pa.binary()),
        }
    )
    kinds = {"z": "bytes", "ä": "bytes", "n": "int", "f": "float", "never": None}
    for encoded, row in zip(encode_examples(batch, kinds), table, strict=True):
        example = tf.train.Example.FromString(encoded)
        assert example.SerializeToString(deterministic=True) == encoded
        feature = example.features.feature
        assert set(feature) == {"z", "n"} | ({"ä"} if row[1] is not None else set()) | (
            {"f"} if row[3] is not None else set()
        )
        assert list(feature["z"].bytes_list.value) == [row[0]]
        assert list(feature["n"].int64_list.value) == [row[2]]
        if row[1] is not None:
            assert list(feature["ä"].bytes_list.value) == [row[1].encode()]
        if row[3] is not None:
            assert math.copysign(1, feature["f"].float_list.value[0]) == math.copysign(1, row[3])
            assert list(feature["f"].float_list.value) == [row[3]]


def test_a_column_is_of_the_kind_that_holds_all_its_values() -> None:
    assert united_kinds([{"a": "int"}, {"a": None}, {"a": "float"}]) == {"a": "float"}
    assert united_kinds([{"a": "int"}, {"a": "bytes"}, {"a": "int"}]) == {"a": "bytes"}
    assert united_kinds([{"a": None}, {"a": None}]) == {"a": None}
