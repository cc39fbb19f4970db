"""What is an id is decided by one rule, in whatever format it comes."""

from __future__ import annotations

import decimal
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from components.span_example_gen import SpanError
from tests.components.span_example_gen_ingest import DAY, START, ingest, keys

FORMATS = ("csv", "jsonl", "parquet", "tfrecord")


def write(base: Path, format: str, users: list[Any]) -> None:
    """A day of one event a user, whose ids have the type that they are given in where the format has it."""
    path = base / DAY / f"events.{format}"
    path.parent.mkdir(parents=True)
    rows = [{"user": user, "film": f"f{place}", "at": START + place} for place, user in enumerate(users)]
    if format == "csv":
        lines = ['"' + _plain(row["user"]).replace('"', '""') + f'",{row["film"]},{row["at"]}\n' for row in rows]
        path.write_text("user,film,at\n" + "".join(lines), encoding="utf-8", newline="")
    elif format == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif format == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with tf.io.TFRecordWriter(str(path)) as writer:
            for row in rows:
                features = {name: _feature(value) for name, value in row.items() if value is not None}
                writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def _plain(value: Any) -> str:
    return "" if value is None else str(value)


def _feature(value: Any) -> tf.train.Feature:
    values = value if isinstance(value, list) else [value]
    if isinstance(values[0], str):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[text.encode() for text in values]))
    if isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def judged(base: Path, format: str, users: list[Any], **options: Any) -> tuple[list[str], dict[str, int]]:
    write(base, format, users)
    done = ingest(base, base / "out", format=format, max_reject_fraction=1.0, **options)
    return sorted(keys(done)), done.reasons


@pytest.mark.parametrize("format", FORMATS)
def test_words_for_nothing_are_no_ids(tmp_path, format):
    nothing = ["NULL", "null", "None", "nan", "NaN", "<NA>", "\\N", "", " ", "\t", " null "]
    ids = ["17008", "v1.0", "1.0.0", "N", "nullable", "nano", "0", "Ünal", "none of them", "1e5", "+4917", "a.0"]
    kept, reasons = judged(tmp_path, format, [*nothing, *ids])
    assert kept == sorted(ids)
    assert reasons == {"no_key": len(nothing)}


@pytest.mark.parametrize("format", FORMATS)
def test_a_whole_number_written_with_a_point_is_the_whole_number(tmp_path, format):
    kept, reasons = judged(
        tmp_path, format, ["17008.0", "0042.00", "-3.0", "7.", "1.5", "12.50", ".5", "1.7E+04", "2E+10"]
    )
    assert kept == sorted(["17008", "0042", "-3", "7"])
    assert reasons == {"bad_key": 5}


@pytest.mark.parametrize("format", FORMATS)
def test_ids_are_taken_as_they_are_written_where_that_is_asked_for(tmp_path, format):
    ids = ["17008.0", "1.5", "1.50", "2E+10"]
    assert judged(tmp_path, format, ids, decimal_ids="as_written") == (sorted(ids), {})


@pytest.mark.parametrize("format", FORMATS)
def test_a_column_of_numbers_with_a_fraction_is_judged_number_by_number(tmp_path, format):
    kept, reasons = judged(tmp_path, format, [17008.0, 5.0, 1.5, None])
    assert kept == ["17008", "5"]
    assert reasons == {"bad_key": 1, "no_key": 1}


@pytest.mark.parametrize("format", ["jsonl", "parquet", "tfrecord"])
def test_lists_are_no_ids(tmp_path, format):
    with pytest.raises(SpanError, match=r"bad_key: 2\n"):
        judged(tmp_path, format, [["a", "b"], ["c", "d"]])


@pytest.mark.parametrize("user", [True, {"id": 5}, decimal.Decimal("1.50")], ids=["truth", "object", "decimal"])
def test_of_a_type_that_is_no_id_every_row_is_a_reject(tmp_path, user):
    with pytest.raises(SpanError, match=r"bad_key: 2\n") as caught:
        judged(tmp_path, "parquet", [user, user])
    assert "An id is text or a whole number" in str(caught.value)


def test_decimals_are_whole_numbers_where_they_have_no_fraction(tmp_path):
    assert judged(tmp_path, "parquet", [decimal.Decimal("17008.00"), decimal.Decimal("9.00")]) == (["17008", "9"], {})


def test_bytes_that_are_no_text_are_no_ids(tmp_path):
    assert judged(tmp_path, "parquet", [b"\xff\xfe", b"good"]) == (["good"], {"bad_key": 1})


@settings(deadline=None, max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.text(st.characters(codec="utf-8", exclude_characters="\x00", exclude_categories=("Cs",)), max_size=6),
            st.sampled_from(["null", "None", "1.0", "1", "\\N", " nan", "12.50", "0.0"]),
        ),
        min_size=1,
        max_size=8,
    )
)
@example(["\r\n", "a\nb", '"', ",", "\ufeff"])
def test_the_formats_agree_id_for_id(tmp_path_factory, users):
    outcomes = []
    for format in FORMATS:
        try:
            outcomes.append(judged(tmp_path_factory.mktemp(format), format, users))
        except SpanError as error:
            outcomes.append(("refused", "must hold at least one usable event" in str(error)))
    assert outcomes == outcomes[:1] * len(FORMATS)
