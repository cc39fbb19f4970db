"""What is an id is decided by one rule, in whatever format it comes."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from components.span_example_gen import SpanError
from tests.components.span_example_gen_ingest import DAY, START, ingest, keys

FORMATS = ("csv", "jsonl", "parquet", "tfrecord")


def write(base: Path, format: str, users: list[str]) -> None:
    """A day of one event a user, whose ids are text in every format."""
    path = base / DAY / f"events.{format}"
    path.parent.mkdir(parents=True)
    rows = [{"user": user, "film": f"f{place}", "at": START + place} for place, user in enumerate(users)]
    if format == "csv":
        lines = ['"' + row["user"].replace('"', '""') + f'",{row["film"]},{row["at"]}\n' for row in rows]
        path.write_text("user,film,at\n" + "".join(lines), encoding="utf-8", newline="")
    elif format == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif format == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with tf.io.TFRecordWriter(str(path)) as writer:
            for row in rows:
                values = {
                    "user": tf.train.Feature(bytes_list=tf.train.BytesList(value=[row["user"].encode()])),
                    "film": tf.train.Feature(bytes_list=tf.train.BytesList(value=[row["film"].encode()])),
                    "at": tf.train.Feature(int64_list=tf.train.Int64List(value=[row["at"]])),
                }
                writer.write(tf.train.Example(features=tf.train.Features(feature=values)).SerializeToString())


def judged(base: Path, format: str, users: list[str]) -> tuple[list[str], dict[str, int]]:
    write(base, format, users)
    done = ingest(base, base / "out", format=format, max_reject_fraction=1.0)
    return sorted(keys(done)), done.reasons


@pytest.mark.parametrize("format", FORMATS)
def test_words_for_nothing_are_no_ids(tmp_path, format):
    nothing = ["NULL", "null", "None", "nan", "NaN", "\\N", "", " ", "\t", " null "]
    ids = ["17008", "17008.0", "1.5", "v1.0", "1.0.0", "N", "nullable", "nano", "0", "Ünal", "none of them"]
    kept, reasons = judged(tmp_path, format, [*nothing, *ids])
    assert kept == sorted(ids)
    assert reasons == {"no_key": len(nothing)}


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
