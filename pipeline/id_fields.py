"""Where a format says that a value is a user's id: how often such a value is one of those looked for."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.incremental_trainer.executor import REFERENCE_FILE
from components.span_transform.forgetting import named_in
from serving.reference import Reference
from serving.warm_up import WARM_UP_FILE, read_warm_up

TEXTS = {".html", ".log", ".md", ".svg", ".tsv", ".txt"}
_ITEMS = ("items", "columns")  # names of what belongs to the catalogue


def exactly(path: Path, ids: Collection[bytes], words: re.Pattern[bytes]) -> int:
    """How often a file has one of `ids` as a user's id, or, where it is text, as a word."""
    if path.suffix == ".gz" and path.parent.name.startswith("Split-"):
        return named_in(path, ids)
    if path.suffix == ".parquet":
        return in_columns(path, ids)
    if path.name.startswith("variables.data-"):
        return in_strings(path, ids)
    if path.name == "FeatureStats.pb":
        return _in_statistics(path, ids)
    if path.name == REFERENCE_FILE:
        return in_reference(path, ids)
    if path.name == WARM_UP_FILE.name:
        inputs = [tensors for _, tensors in read_warm_up(path.parents[1]) if "user_id" in tensors]
        return sum(one in ids for tensors in inputs for one in tensors["user_id"].ravel().tolist())
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            cells = (cell.encode("utf-8", "surrogateescape") for row in csv.reader(file) for cell in row)
            return sum(cell in ids for cell in cells)
    return len(words.findall(path.read_bytes())) if path.suffix in TEXTS else 0


def in_columns(path: Path, ids: Collection[bytes]) -> int:
    """In the columns of a Parquet file, but not in those of items."""
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError):
        return 0
    if path.name.startswith(_ITEMS):
        return 0
    wanted, found = pa.array(sorted(ids), pa.binary()), 0
    for group in range(file.num_row_groups):
        table = file.read_row_group(group)
        for name in table.column_names:
            kind = table.schema.field(name).type
            if pa.types.is_binary(kind) or pa.types.is_string(kind):
                among = table[name].cast(pa.binary())
                found += pc.sum(pc.is_in(among, value_set=wanted)).as_py() or 0
    return found


def in_strings(path: Path, ids: Collection[bytes]) -> int:
    """In a checkpoint's tensors of strings, which stand in the file without anything between them; not in items'."""
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(str(path.with_name("variables")))
    except (tf.errors.OpError, ValueError, RuntimeError):
        return 0
    kinds, shapes = reader.get_variable_to_dtype_map(), reader.get_variable_to_shape_map()
    names = [name for name, kind in kinds.items() if kind == tf.string and shapes[name]]
    names = [name for name in names if not name.startswith(("_", *(f"{one}/" for one in _ITEMS)))]
    return sum(value in ids for name in names for value in reader.get_tensor(name).ravel().tolist())


def in_reference(path: Path, ids: Collection[bytes]) -> int:
    """In the positions that a model must answer."""
    import tensorflow as tf

    found = Reference.load(path)
    keys = [tf.train.Example.FromString(one).features.feature["key"].bytes_list.value for one in found.examples]
    return sum(user in ids for user in found.users) + sum(key in ids for of in keys for key in of)


def _in_statistics(path: Path, ids: Collection[bytes]) -> int:
    from tensorflow_metadata.proto.v0 import statistics_pb2

    names, found = {one.decode("utf-8", "replace") for one in ids}, 0
    for dataset in statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes()).datasets:
        for feature in dataset.features:
            if "item" not in (feature.name, *feature.path.step):
                found += sum(one.value in names for one in feature.string_stats.top_values)
                found += sum(one.label in names for one in feature.string_stats.rank_histogram.buckets)
    return found
