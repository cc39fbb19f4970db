"""What cells of a catalogue are read as, in every format."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.catalogue_gen.values import read_values, read_vectors
from components.span_example_gen.readers.registry import plan_files, reader_of
from trainer.features.declaration import Feature


def read(path: Any, format: str, feature: Feature) -> list[Any]:
    _, reader = reader_of(format)
    (piece,) = plan_files(format, [(str(path), path.name)], [feature.source])
    (raw,) = reader(piece, [feature.source])
    return read_values(raw, feature, "whole").to_pylist()


def of_csv(folder: Any, cells: list[str], **feature: Any) -> list[Any]:
    path = folder / "items.csv"
    path.write_text("id,cell\n" + "".join(f'{at},"{cell}"\n' for at, cell in enumerate(cells)))
    return read(path, "csv", Feature(name="x", column="cell", **feature))


def test_words(tmp_path):
    assert of_csv(tmp_path, [" Red ", "", "NaN", "red", "none"], kind="category") == ["Red", None, None, "red", None]


def test_an_id_is_read_by_the_rule_of_all_ids(tmp_path):
    assert of_csv(tmp_path, ["17850.0", "007", "nan"], kind="id") == ["17850", "007", None]
    assert of_csv(tmp_path, ["17850.0"], kind="category") == ["17850.0"]


def test_several_words_stand_once_each_and_not_more_than_are_kept(tmp_path):
    cells = ["a|b| a |", "", "|", "a,b", "c|null|d|e|f"]
    assert of_csv(tmp_path, cells, kind="categories", max_values=3) == [
        ["a", "b"],
        None,
        None,
        ["a,b"],
        ["c", "d", "e"],
    ]
    assert of_csv(tmp_path, ["a, b"], kind="categories", separator=",") == [["a", "b"]]


def test_a_number_that_can_not_be_read_is_unknown_and_not_missing(tmp_path):
    numbers = of_csv(tmp_path, ["1.5", "+2", " 3e2 ", "", "n/a", "dear", "inf"], kind="number")
    assert numbers[:4] == [1.5, 2.0, 300.0, None]
    assert all(math.isnan(number) for number in numbers[4:])


def test_a_part_of_a_text_is_taken_out(tmp_path):
    cells = ["Heat (1995)", "1984 (1956)", "Untitled", ""]
    assert of_csv(tmp_path, cells, kind="number", pattern=r"\((\d{4})\)$") == [1995.0, 1956.0, None, None]
    assert of_csv(tmp_path, cells, kind="category", pattern="^[A-Z]") == ["H", None, "U", None]


def test_times_are_milliseconds(tmp_path):
    millis = of_csv(tmp_path, ["2013-05-03", "86400", "", "soon"], kind="time")
    assert millis[:3] == [1367539200000.0, 86400000.0, None]
    assert math.isnan(millis[3])
    assert of_csv(tmp_path, ["86400000"], kind="time", unit="ms") == [86400000.0]


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_lists_need_no_separator(format, tmp_path):
    values: list[Any] = [["a", "b|c"], [], None, ["a"]]
    path = tmp_path / f"items.{format}"
    if format == "parquet":
        pq.write_table(pa.table({"tags": pa.array(values, pa.list_(pa.string()))}), path)
    else:
        path.write_text("".join(json.dumps({"tags": value}) + "\n" for value in values))
    assert read(path, format, Feature(name="tags", kind="categories")) == [["a", "b|c"], None, None, ["a"]]


def test_typed_columns_of_parquet_are_taken_as_they_are(tmp_path):
    path = tmp_path / "items.parquet"
    columns = {"price": pa.array([1, None, 3]), "red": pa.array([True, None, False])}
    pq.write_table(pa.table(columns), path)
    assert read(path, "parquet", Feature(name="price", kind="number")) == [1.0, None, 3.0]
    assert read(path, "parquet", Feature(name="red", kind="number")) == [1.0, None, 0.0]
    assert read(path, "parquet", Feature(name="red", kind="category")) == ["true", None, "false"]


PHOTO = {"name": "x", "column": "cell", "kind": "vector", "width": 2}


@pytest.mark.parametrize("format", ["parquet", "jsonl", "csv"])
def test_a_vector_is_a_list_or_a_text_of_so_many_finite_numbers(format, tmp_path):
    cells: list[Any] = [[0.5, -2.0], None, [], [1.0], [1.0, 2.0, 3.0], [1.0, math.inf]]
    path = tmp_path / f"items.{format}"
    if format == "parquet":
        pq.write_table(pa.table({"cell": pa.array(cells, pa.list_(pa.float32()))}), path)
    elif format == "jsonl":
        lines = [*cells[:-1], [1.0, "many"]]
        path.write_text("".join(json.dumps({"cell": cell}) + "\n" for cell in lines))
    else:
        texts = ["0.5|-2", "", "[]", "1", "1|2|3", "1|nan"]
        path.write_text("id,cell\n" + "".join(f'{at},"{text}"\n' for at, text in enumerate(texts)))
    feature = Feature(**PHOTO)
    _, reader = reader_of(format)
    (piece,) = plan_files(format, [(str(path), path.name)], [feature.source])
    (raw,) = reader(piece, [feature.source])
    values, unfit = read_vectors(raw, feature)
    assert values.type == pa.binary(8)
    assert [None if value is None else np.frombuffer(value, "<f4").tolist() for value in values.to_pylist()] == [
        [0.5, -2.0], None, None, None, None, None,
    ]  # fmt: skip
    assert unfit.tolist() == [False, False, False, True, True, True]


@pytest.mark.parametrize(("text", "separator"), [("0.5; -2", ";"), ("[0.5, -2]", ";"), ("0.5 -2", " ")])
def test_a_vector_in_one_text(text, separator, tmp_path):
    path = tmp_path / "items.csv"
    path.write_text(f'id,cell\n1,"{text}"\n')
    _, reader = reader_of("csv")
    (raw,) = reader(plan_files("csv", [(str(path), path.name)], ["cell"])[0], ["cell"])
    values, _ = read_vectors(raw, Feature(**PHOTO, separator=separator))
    assert np.frombuffer(values[0].as_py(), "<f4").tolist() == [0.5, -2.0]
