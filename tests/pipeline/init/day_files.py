"""Days of events in every format, and what `init` makes of them."""

import csv
import gzip
import json
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from pipeline.config import Config, load_config
from pipeline.init.write_config import write_config

Rows = list[dict[str, Any]]
FIRST = date(2024, 5, 2)


def rows_of(day: date, count: int = 40) -> Rows:
    start = int(datetime(day.year, day.month, day.day, 9, tzinfo=timezone.utc).timestamp())
    return [
        {"user_id": f"u{row % 7}", "item_id": f"00{row}", "timestamp": start + 60 * row, "quantity": 1 + row % 3}
        for row in range(count)
    ]


def write_csv(file: Path, rows: Rows) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(file, "wt", newline="") if file.suffix == ".gz" else file.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_jsonl(file: Path, rows: Rows) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_parquet(file: Path, rows: Rows) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), file)


def write_tfrecord(file: Path, rows: Rows) -> None:
    from trainer.keras2 import tf

    def feature(value: Any) -> Any:
        if isinstance(value, str):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    file.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(file), "GZIP" if file.suffix == ".gz" else "") as out:
        for row in rows:
            features = tf.train.Features(feature={name: feature(value) for name, value in row.items()})
            out.write(tf.train.Example(features=features).SerializeToString())


def write_days(base: Path, name: str, rows: Callable[[date], Rows] = rows_of, days: int = 3) -> Path:
    """Lays `days` CSV spans below `base`; `name` is a file's name with strftime's directives."""
    for number in range(days):
        day = FIRST + timedelta(days=number)
        write_csv(base / day.strftime(name), rows(day))
    return base


def written(data: Path, out: Path, **flags: Any) -> Config:
    write_config(data, out, **flags)
    return load_config(out)
