"""The first rows of the first, middle and last span, as columns."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

from pipeline.init.errors import InitError
from pipeline.init.span_layout import Format

ROWS_A_FILE = 2000

Kind = Literal["int", "float", "text", "time", "other"]
_INT = re.compile(r"[+-]?\d{1,19}")


@dataclass(frozen=True)
class Column:
    """What a column holds: `values` are the present ones as text, of `rows` rows that were looked at."""

    name: str
    kind: Kind
    values: tuple[str, ...]
    rows: int

    @property
    def missing(self) -> float:
        """The share of rows without a value."""
        return 1 - len(self.values) / max(self.rows, 1)

    @property
    def distinct(self) -> int:
        """How many different values there are."""
        return len(set(self.values))


def read_sample(files: Sequence[Path], format: Format) -> list[Column]:
    """The columns of `files`, in the order of the first one's, from at most `ROWS_A_FILE` rows each.

    Raises:
      InitError: a file can't be read as `format` or holds no row.
    """
    rows: list[dict[str, Any]] = []
    for file in files:
        try:
            rows += islice(_READERS[format](file), ROWS_A_FILE)
        except (OSError, EOFError, ValueError, UnicodeError, csv.Error) as error:
            raise InitError(f"{file} must be a {format} file that can be read. {error}") from None
    if not rows:
        raise InitError(f"{files[0]} must hold at least one row of events. Received: none.")
    names = dict.fromkeys(name for row in rows for name in row)
    return [_column(name, [row.get(name) for row in rows]) for name in names]


def _column(name: str, cells: list[Any]) -> Column:
    present = [cell for cell in cells if cell is not None and cell != "" and cell == cell]
    texts = [cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell) for cell in present]
    return Column(name, _kind(present, texts), tuple(texts), len(cells))


def _kind(cells: Iterable[Any], texts: Sequence[str]) -> Kind:
    types = {type(cell) for cell in cells}
    if any(issubclass(kind, (list, tuple, dict)) for kind in types):
        return "other"
    if any(hasattr(kind, "isoformat") for kind in types):
        return "time"
    if texts and all(_INT.fullmatch(text) for text in texts):
        return "int"
    return "float" if texts and all(_is_number(text) for text in texts) else "text"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@contextmanager
def _text(file: Path) -> Iterator[IO[str]]:
    with file.open("rb") as raw:
        plain = gzip.GzipFile(fileobj=raw) if file.name.endswith(".gz") else raw
        yield io.TextIOWrapper(plain, encoding="utf-8-sig", newline="")


def _csv_rows(file: Path) -> Iterator[dict[str, Any]]:
    with _text(file) as text:
        reader = csv.reader(text)
        header = next(reader, [])
        if len(header) == 1 and (other := re.search(r"[;\t|]", header[0])):
            raise ValueError(f"Its columns must be separated by commas. Received: {other[0]!r} in {header[0][:80]!r}.")
        for row in reader:
            if len(row) == len(header):
                yield dict(zip(header, row, strict=True))


def _jsonl_rows(file: Path) -> Iterator[dict[str, Any]]:
    with _text(file) as text:
        for line in text:
            if line.strip():
                # Numbers stay as they stand in the file: an id of twenty digits is no float.
                row = json.loads(line, parse_int=str, parse_float=str)
                if not isinstance(row, dict):
                    raise ValueError(f"Each line must be a JSON object. Received: {line.strip()[:80]!r}.")
                yield row


def _parquet_rows(file: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(file) as opened:
        for batch in opened.iter_batches(batch_size=ROWS_A_FILE):
            yield from batch.to_pylist()


def _tfrecord_rows(file: Path) -> Iterator[dict[str, Any]]:
    from google.protobuf.message import DecodeError

    from trainer.keras2 import tf

    compression = "GZIP" if file.name.endswith(".gz") else ""
    try:
        for record in tf.data.TFRecordDataset(str(file), compression).take(ROWS_A_FILE).as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            yield {name: _feature(features[name]) for name in sorted(features)}
    except (tf.errors.OpError, DecodeError) as error:
        raise ValueError(f"It must hold records of tf.Example. {error}") from None


def _feature(feature: Any) -> Any:
    kind = feature.WhichOneof("kind")
    values = list(getattr(feature, kind).value) if kind else []
    return values if len(values) > 1 else values[0] if values else None


_READERS = {"csv": _csv_rows, "jsonl": _jsonl_rows, "parquet": _parquet_rows, "tfrecord": _tfrecord_rows}
