"""Days as they come: odd ids and times, in each format, zipped or not, in several parts, with empty and broken ones."""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from hypothesis import strategies as st

from tests.components.span_example_gen_ingest import DAY, START

FORMATS = ("csv", "jsonl", "parquet", "tfrecord")
ODD_IDS = [
    "1",
    "1.0",
    "01",
    "1.5",
    "2E+10",
    "null",
    "NULL",
    "None",
    "nan",
    "\\N",
    "",
    " ",
    "a,b",
    'q"q',
    "x\ny",
    "é",
    "[1]",
]
ODD_TIMES = ["", "noon", "0", "-1", str(START - 1), str(START), str(START + 86_399), str(START + 86_400)]
ODD_TIMES += [str(START * 1000), f"{START}.5", "2013-05-03 10:00:00 UTC", "2013-05-03T10:00:00Z", "1e400", "NULL"]


@dataclasses.dataclass(frozen=True)
class GeneratedDay:
    """Rows of each part, whether parts are zipped, and parts without a row."""

    parts: list[list[dict[str, str]]]
    zipped: bool
    empty: int


def _row() -> st.SearchStrategy[dict[str, str]]:
    usual, odd = st.sampled_from(["u1", "u2", "u3"]), st.sampled_from(ODD_IDS)
    time = st.integers(START, START + 86_399).map(str)
    return st.fixed_dictionaries(
        {
            "user": st.one_of(usual, usual, odd),
            "film": st.one_of(usual, usual, odd),
            "at": st.one_of(time, time, st.sampled_from(ODD_TIMES)),
        }
    )


generated_days = st.builds(
    GeneratedDay,
    parts=st.lists(st.lists(_row(), max_size=8), min_size=1, max_size=3),
    zipped=st.booleans(),
    empty=st.integers(0, 1),
)


def write_day(base: Path, day: GeneratedDay, format: str) -> int:
    """Writes the day below `base` and returns how many rows there are."""
    folder = base / DAY
    folder.mkdir(parents=True)
    for number, rows in enumerate([*day.parts, *([[]] * day.empty)]):
        zipped = day.zipped and format != "parquet"
        path = folder / f"part-{number}.{format}{'.gz' if zipped else ''}"
        if format == "parquet":
            columns: dict[str, Any] = {name: pa.array([row[name] for row in rows], pa.string()) for name in _COLUMNS}
            pq.write_table(pa.table(columns), path)
        elif format == "tfrecord":
            with tf.io.TFRecordWriter(str(path), "GZIP" if zipped else "") as writer:
                for row in rows:
                    writer.write(_example(row))
        else:
            data = (_csv(rows) if format == "csv" else _jsonl(rows)).encode()
            path.write_bytes(gzip.compress(data) if zipped else data)
    return sum(map(len, day.parts))


_COLUMNS = ("user", "film", "at")


def _csv(rows: list[dict[str, str]]) -> str:
    lines = [",".join('"' + row[name].replace('"', '""') + '"' for name in _COLUMNS) for row in rows]
    return "".join(f"{line}\n" for line in [",".join(_COLUMNS), *lines])


def _jsonl(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _example(row: dict[str, str]) -> bytes:
    features = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()])) for name, value in row.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
