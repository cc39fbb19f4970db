"""The state that knows every key's last events: Parquet shards, a row a key."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.span_transform import query_columns
from components.span_transform.events import key_hashes
from trainer.atomic_write import atomic_write
from trainer.features.declaration import Feature
from trainer.features.query_values import PREFIX


def list_field(name: str, kind: pa.DataType) -> pa.Field:
    """A column with a value of `kind` for each event of a key."""
    return pa.field(name, _list_of(kind))


def _list_of(kind: pa.DataType) -> pa.DataType:
    # Named, because the default name of a list's values differs between versions of pyarrow.
    return pa.list_(pa.field("element", kind))


SCHEMA = pa.schema(
    [
        ("key", pa.binary()),
        ("items", _list_of(pa.binary())),
        ("timestamps", _list_of(pa.int64())),
        ("weights", _list_of(pa.float32())),
        ("held_out", pa.int64()),
    ]
)


def schema_of(features: Sequence[Feature] | None) -> pa.Schema:
    """With features of key and context at each event that is held out; of the others they are null.

    `held_out` stays the last column: `read_held_out` finds it there.
    """
    *first, last = SCHEMA
    columns = [list_field(field.name, field.type) for field in query_columns.fields(features or ())]
    return pa.schema([*first, *columns, last])


# Most of a day's history is carried over unchanged, so its price is that of writing it: this halves it.
_PARQUET: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": ["items.list.element"],
    "write_statistics": ["held_out"],
    "use_compliant_nested_type": True,
}


_NEVER = -(2**62)
_HOUR = 3_600_000  # milliseconds


@dataclasses.dataclass(frozen=True)
class Counts:
    """What one shard did: kept with its history, so that it survives whatever ran the shard.

    Attributes:
      span: the day's.
      new_events, held_out, sequences: what is trained on, and held out.
      verdict: how many of those held out judge a candidate.
      known: events of the day that an earlier span had brought.
      keys, events: what the history keeps.
      until: the latest time of these, in unix milliseconds.
    """

    span: int
    new_events: int = 0
    held_out: int = 0
    verdict: int = 0
    sequences: int = 0
    known: int = 0
    keys: int = 0
    events: int = 0
    until: int = _NEVER

    def __add__(self, other: Counts) -> Counts:
        added = {
            field.name: getattr(self, field.name) + getattr(other, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("span", "until")
        }
        return dataclasses.replace(self, **added, until=max(self.until, other.until))


def shard_name(shard: int, shards: int) -> str:
    """The file name of a shard."""
    return f"history-{shard:05d}-of-{shards:05d}.parquet"


def shards_in(folder: str | Path) -> list[Path]:
    """The shard files of a history artifact, in order.

    Raises:
      ValueError: some are missing.
    """
    paths = sorted(Path(folder).glob("history-*-of-*.parquet"))
    shards = int(paths[0].stem.rsplit("-", 1)[1]) if paths else 0
    if not paths or [path.name for path in paths] != [shard_name(shard, shards) for shard in range(shards)]:
        raise ValueError(
            f"The history must hold all of its shards. Received: {len(paths)} of {shards} in {folder}. "
            "Restore the folder, or transform its span again."
        )
    return paths


def counts_in(folder: str | Path) -> Counts:
    """The sum of the counts of all shards."""
    each = [counts_of(path) for path in shards_in(folder)]
    return sum(each[1:], each[0])


def ended_before(folder: str | Path | None, hours: float | None) -> int | None:
    """The time, in unix milliseconds, before which a key of yesterday's history must have been seen last to be over.

    It is told by the latest event of yesterday, so that it does not depend on what came today; None for no key.
    """
    if folder is None or hours is None:
        return None
    return counts_in(folder).until - round(hours * _HOUR)


def without_ended(table: pa.Table, before: int | None) -> pa.Table:
    """The keys of a history that have an event at `before` or later; all of them for None."""
    if before is None or not len(table):
        return table
    sizes = lengths(table["items"])
    recent = np.flatnonzero(pc.list_flatten(table["timestamps"]).to_numpy() >= before)
    alive = np.zeros(len(table), bool)
    alive[np.repeat(np.arange(len(table)), sizes)[recent]] = True
    return table.filter(pa.array(alive))


def counts_of(path: str | Path) -> Counts:
    """The counts of one shard file."""
    # An earlier version did not say until when its events are, nor did it have parts.
    kept = {b"known": b"0", b"verdict": b"0", b"until": str(-_NEVER).encode(), **pq.read_metadata(path).metadata}
    return Counts(**{field.name: int(kept[field.name.encode()]) for field in dataclasses.fields(Counts)})


def read_shard(folder: str | Path, shard: int, shards: int, features: Sequence[Feature] | None = None) -> pa.Table:
    """Reads the keys of one of `shards` shards, whatever the number of shards they were written in."""
    files = shards_in(folder)
    chosen = files[shard % len(files) :: shards] if len(files) >= shards else [files[shard % len(files)]]
    schema = schema_of(features)
    table = pa.concat_tables([_conform(pq.read_table(path), schema) for path in chosen])
    if len(files) < shards:
        table = table.filter(pa.array(key_hashes(table["key"]) % shards == shard))
    return table.combine_chunks()


def read_file(path: str | Path) -> pa.Table:
    """Reads one shard file whole, but for the features of its events."""
    return _conform(pq.read_table(path), SCHEMA).combine_chunks()


def read_held_out(path: str | Path, features: Sequence[Feature] | None = None) -> pa.Table:
    """Reads only the keys of a shard file that have held-out events."""
    file = pq.ParquetFile(path)
    column = SCHEMA.get_field_index("held_out") - len(SCHEMA)
    groups = [
        group
        for group in range(file.num_row_groups)
        if (about := file.metadata.row_group(group)).column(about.num_columns + column).statistics.max > 0
    ]
    # Newer versions of pyarrow can't read no row group at all.
    schema = schema_of(features)
    table = _conform(file.read_row_groups(groups), schema) if groups else schema.empty_table()
    return table.filter(pc.greater(table["held_out"], 0)).combine_chunks()


def write_shard(path: str | Path, tables: list[pa.Table], counts: Counts) -> None:
    """Writes a shard; keys with held-out events stand in a row group of their own, to be found without the others."""
    path = Path(path)
    schema = _own_schema(tables[0])
    table = pa.concat_tables([schema.empty_table(), *(_conform(table, schema) for table in tables)])
    held = pc.greater(table["held_out"], 0)
    about = {name: str(value) for name, value in dataclasses.asdict(counts).items()}
    with (
        atomic_write(path) as beside,
        pq.ParquetWriter(beside, schema.with_metadata(about), **_PARQUET) as writer,
    ):
        for part in (table.filter(held), table.filter(pc.invert(held))):
            if len(part):
                writer.write_table(part.combine_chunks().replace_schema_metadata(about))


def _own_schema(table: pa.Table) -> pa.Schema:
    *first, last = SCHEMA
    kinds = {field.name: field.type.value_type for field in table.schema if field.name.startswith(PREFIX)}
    return pa.schema([*first, *(list_field(name, kind) for name, kind in kinds.items()), last])


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of `schema`: what was not declared, or of another kind, when the table was written is null."""
    if table.schema.equals(schema):
        return table.replace_schema_metadata(None)
    columns = []
    for field in schema:
        at = table.schema.get_field_index(field.name)
        usable = at >= 0 and not (
            field.name.startswith(PREFIX) and table.schema.field(at).type.value_type != field.type.value_type
        )
        columns.append(table.column(at).cast(field.type) if usable else _nothing(table["items"], field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _nothing(items: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    sizes = lengths(items)
    offsets = pa.array(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, pa.nulls(int(sizes.sum()), kind.value_type)).cast(kind)


def latest(timestamps: pa.ChunkedArray) -> int:
    """The latest of all times in the lists of a column."""
    last = pc.max(pc.list_flatten(timestamps)).as_py()
    return _NEVER if last is None else int(last)


def lengths(lists: pa.ChunkedArray) -> np.ndarray:
    """`[n]` int64, how many values each list has."""
    return pc.list_value_length(lists).to_numpy().astype(np.int64)
