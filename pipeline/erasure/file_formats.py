"""Kinds of files in which every value can be told from its neighbours: how often a value is an id that is sought."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from components.incremental_trainer.artifact_files import REFERENCE_FILE
from components.span_transform.erasure import named_in
from pipeline.erasure.id_matcher import IdMatcher
from serving.bundle.reference_answers import Reference
from serving.bundle.warmup_requests import WARM_UP_FILE, read_warm_up

PAGES = {".html", ".log", ".md", ".svg", ".tsv", ".txt"}  # text that a person reads
TEXTS = {".json", ".pbtxt", ".yaml", ".js", ".config"}
_ITEMS = ("items", "columns")  # names of what belongs to the catalogue

Reader = Callable[[Path, IdMatcher], int]


def reader_of(path: Path) -> Reader | None:
    """What counts ids in files of the kind; None where all that is known is bytes."""
    if path.name.startswith("metadata.sqlite"):
        return _in_store if path.name == "metadata.sqlite" else None
    if path.suffix == ".gz" and path.parent.name.startswith("Split-"):
        return _in_examples
    if path.name.startswith("variables.data-"):
        return _in_strings
    if "tfevents" in path.name:
        return _in_events
    by_name: dict[str, Reader] = {
        "FeatureStats.pb": _in_statistics,
        "SchemaDiff.pb": _in_anomalies,
        REFERENCE_FILE: _in_reference,
        WARM_UP_FILE.name: _in_warm_up,
    }
    by_suffix: dict[str, Reader] = {".parquet": _in_columns, ".csv": _in_cells}
    return by_name.get(path.name) or by_suffix.get(path.suffix)


def values_of(message: Message) -> Iterator[bytes]:
    """Every string and every bytes of a message, and of those in it."""
    for field, value in message.ListFields():
        repeated = not isinstance(value, (Message, str, bytes))
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            if repeated and hasattr(value, "values"):  # a map
                for key, inner in value.items():
                    yield str(key).encode()
                    if isinstance(inner, Message):
                        yield from values_of(inner)
            else:
                for inner in value if repeated else [value]:
                    yield from values_of(inner)
        elif field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
            for text in value if repeated else [value]:
                yield text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def _in_examples(path: Path, matcher: IdMatcher) -> int:
    return named_in(path, matcher.ids, matcher.in_value)


def _in_columns(path: Path, matcher: IdMatcher) -> int:
    """In the columns of a Parquet file, but not in those of items."""
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError):
        return matcher.in_bytes(path.read_bytes())
    if path.name.startswith(_ITEMS):
        return 0
    ids, count = pa.array(sorted(matcher.ids), pa.binary()), 0
    for group in range(file.num_row_groups):
        table = file.read_row_group(group)
        for name in table.column_names:
            kind = table.schema.field(name).type
            if pa.types.is_binary(kind) or pa.types.is_string(kind):
                column = table[name].cast(pa.binary())
                count += pc.sum(pc.is_in(column, value_set=ids)).as_py() or 0
    return count


def _in_strings(path: Path, matcher: IdMatcher) -> int:
    """In a checkpoint's tensors of strings, which stand in the file without anything between them; not in items'."""
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(str(path.with_name("variables")))
    except (tf.errors.OpError, ValueError, RuntimeError):
        return matcher.in_bytes(path.read_bytes())
    kinds, shapes = reader.get_variable_to_dtype_map(), reader.get_variable_to_shape_map()
    names = [name for name, kind in kinds.items() if kind == tf.string and shapes[name]]
    names = [name for name in names if not name.startswith(("_", *(f"{prefix}/" for prefix in _ITEMS)))]
    return sum(value in matcher.ids for name in names for value in reader.get_tensor(name).ravel().tolist())


def _in_reference(path: Path, matcher: IdMatcher) -> int:
    """In the positions that a model must answer."""
    import tensorflow as tf

    reference = Reference.load(path)
    keys = [
        tf.train.Example.FromString(example).features.feature["key"].bytes_list.value for example in reference.examples
    ]
    ids = matcher.ids
    return sum(user in ids for user in reference.users) + sum(key in ids for of in keys for key in of)


def _in_warm_up(path: Path, matcher: IdMatcher) -> int:
    inputs = [tensors for _, tensors in read_warm_up(path.parents[1]) if "user_id" in tensors]
    return sum(id_ in matcher.ids for tensors in inputs for id_ in tensors["user_id"].ravel().tolist())


def _in_cells(path: Path, matcher: IdMatcher) -> int:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        cells = (cell.encode("utf-8", "surrogateescape") for row in csv.reader(file) for cell in row)
        return sum(map(matcher.in_value, cells))


def _in_statistics(path: Path, matcher: IdMatcher) -> int:
    from tensorflow_metadata.proto.v0 import statistics_pb2

    count = 0
    for dataset in statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes()).datasets:
        for feature in dataset.features:
            if "item" not in (feature.name, *feature.path.step):
                count += sum(map(matcher.in_value, values_of(feature)))
    return count


def _in_anomalies(path: Path, matcher: IdMatcher) -> int:
    from tensorflow_metadata.proto.v0 import anomalies_pb2

    return sum(map(matcher.in_text, values_of(anomalies_pb2.Anomalies.FromString(path.read_bytes()))))


def _in_events(path: Path, matcher: IdMatcher) -> int:
    import tensorflow as tf
    from tensorflow.core.util import event_pb2

    count = 0
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            # Most hold numbers alone.
            if any(id_ in record for id_ in matcher.ids):
                count += sum(map(matcher.in_text, values_of(event_pb2.Event.FromString(record))))
    except (tf.errors.OpError, DecodeError):  # a file that was cut off
        return matcher.in_bytes(path.read_bytes())
    return count


def _in_store(path: Path, matcher: IdMatcher) -> int:
    """In the cells of all tables, and in pages that are free."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)
    connection.text_factory = bytes
    try:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        count = 0
        for (table,) in tables:
            for row in connection.execute(f'SELECT * FROM "{table.decode()}"'):
                count += sum(matcher.in_text(value) for value in row if isinstance(value, bytes))
        ((free,),) = connection.execute("PRAGMA freelist_count").fetchall()
    finally:
        connection.close()
    return count or (matcher.in_bytes(path.read_bytes()) if free else 0)
