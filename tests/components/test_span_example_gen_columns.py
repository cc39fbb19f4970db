"""Which columns a file has, in every format; and who only asks that does not wait for TFX."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
import tensorflow as tf

from components.span_example_gen import SpanError
from components.span_example_gen.readers import csv_reader
from components.span_example_gen.readers.column_names import RECORDS_SEEN, column_names
from tests.components.span_example_gen_ingest import HEADER, START, deliver, ingest, keys


def names_of(file: Path, format: str) -> list[str]:
    return column_names(format, str(file), file.name)


@pytest.mark.parametrize("text", ['a,"b, c",a\n1,2,3\n', '\ufeffa,"b, c",a\r\n'])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_csv_header(tmp_path: Path, text: str, zipped: bool) -> None:
    file = tmp_path / ("a.csv.gz" if zipped else "a.csv")
    file.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    assert names_of(file, "csv") == ["a", "b, c", "a"]


def test_json_lines_have_the_keys_of_the_first_records_but_nested_ones(tmp_path: Path) -> None:
    records = [{"a": 1}, {"b": None, "c": [1]}, *({"a": 2, "c": None} for _ in range(RECORDS_SEEN)), {"late": 1}]
    file = tmp_path / "a.jsonl"
    file.write_text("\ufeff" + "cut\n\n" + "".join(json.dumps(record) + "\n" for record in records))
    assert names_of(file, "jsonl") == ["a", "b"]
    file.write_text("")
    assert names_of(file, "jsonl") == []
    file.write_text("[\n1]\n")
    with pytest.raises(SpanError, match="must hold one JSON object a line"):
        names_of(file, "jsonl")


def test_parquet_has_the_columns_of_its_schema_but_nested_ones(tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"a": [1], "b": [[1]], "c": ["x"]}), tmp_path / "a.parquet")
    assert names_of(tmp_path / "a.parquet", "parquet") == ["a", "c"]


def test_tfrecord_has_the_features_of_the_first_records_but_lists(tmp_path: Path) -> None:
    def record(**lists: list[int]) -> bytes:
        features = {name: tf.train.Feature(int64_list=tf.train.Int64List(value=value)) for name, value in lists.items()}
        return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()

    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as out:
        for line in (record(a=[1]), record(b=[], c=[1, 2]), record(c=[1], a=[2])):
            out.write(line)
    assert names_of(tmp_path / "a.tfrecord", "tfrecord") == ["a", "b"]


def test_a_quoted_field_may_be_as_long_as_16_mib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert csv_reader.csv.field_size_limit() == 16 << 20
    rows = [f'u{length},i,{START},"{"x" * length}"\n' for length in (200_000, 5_000_000, (16 << 20) + 1, 3)]
    deliver(tmp_path, HEADER.rstrip("\n") + ",more\n" + "".join(rows))
    done = ingest(tmp_path, tmp_path / "out", max_reject_fraction=1)
    assert sorted(keys(done)) == ["u200000", "u3", "u5000000"]


def test_a_reader_does_not_load_tensorflow() -> None:
    code = "import sys; import components.span_example_gen.readers.column_names; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
