"""Event Examples to Arrow tables, cut by key into shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.span_transform import query_columns
from trainer.features.declaration import Feature
from trainer.ids import Ids, hash_buckets
from trainer.keras2 import tf

SCHEMA = pa.schema([("key", pa.binary()), ("item", pa.binary()), ("timestamp", pa.int64()), ("weight", pa.float32())])

# Numbers of shards are powers of two, and shard = hash modulo number: a shard of one division is then a union or a part
# of shards of another one, so that yesterday's state can be read under today's number without a shuffle.
_HASH_RANGE = 2**62
_BATCH = 16_384


def files_of(folder: str | Path) -> list[Path]:
    """The files of a split, in the order in which their events count."""
    return sorted(path for path in Path(folder).glob("*") if path.is_file() and not path.name.startswith((".", "_")))


def schema_of(features: Sequence[Feature] | None) -> pa.Schema:
    """Of events with features of key and context."""
    return pa.schema([*SCHEMA, *query_columns.fields(features or ())])


def read_events(path: str | Path, features: Sequence[Feature] | None = None) -> pa.Table:
    """Reads one gzipped TFRecord file of event Examples, in file order; context columns are left out."""
    schema = schema_of(features)
    types = {pa.binary(): tf.string, pa.int64(): tf.int64, pa.float32(): tf.float32}
    parsing = {field.name: tf.io.FixedLenFeature([], types[field.type]) for field in SCHEMA}
    parsing |= query_columns.parsing(features or ())
    records = tf.data.TFRecordDataset(str(path), "GZIP", buffer_size=4 << 20).batch(_BATCH)
    batches = []
    for batch in records:
        parsed = {name: values.numpy() for name, values in tf.io.parse_example(batch, parsing).items()}
        columns = [pa.array(parsed[field.name], field.type) for field in SCHEMA]
        columns += [query_columns.as_arrow(parsed[field.name], field) for field in list(schema)[len(SCHEMA) :]]
        batches.append(pa.RecordBatch.from_arrays(columns, schema=schema))
    return pa.Table.from_batches(batches, schema).combine_chunks()


def key_hashes(keys: Ids) -> npt.NDArray[np.int64]:
    """A stable 62-bit hash of each key, `[n]`; the same on every machine and in every version."""
    return hash_buckets(keys, _HASH_RANGE)


def partition(events: pa.Table, shards: int) -> dict[int, pa.Table]:
    """Cuts `events` by key; shards without an event are left out."""
    if shards == 1:
        return {0: events} if len(events) else {}
    shard = key_hashes(events["key"]) % shards
    order = np.argsort(shard, kind="stable")
    bounds = np.searchsorted(shard[order], np.arange(shards + 1))
    return {
        number: events.take(pa.array(order[bounds[number] : bounds[number + 1]]))
        for number in range(shards)
        if bounds[number] < bounds[number + 1]
    }


def to_bytes(table: pa.Table) -> bytes:
    """An Arrow stream, the form in which Beam carries a part of a shard."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def from_bytes(data: bytes) -> pa.Table:
    """Reads what `to_bytes` wrote."""
    return pa.ipc.open_stream(data).read_all()


def concat(tables: list[pa.Table], features: Sequence[Feature] | None = None) -> pa.Table:
    """Events of several files, one after the other; none are an empty table."""
    return pa.concat_tables([schema_of(features).empty_table(), *tables]).combine_chunks()
