"""The catalogue as it stands: one row for each item that it has ever named, in the order of first appearance."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.catalogue_gen.values import type_of
from trainer.atomic_write import atomic_write
from trainer.features.declaration import CHANGED, ITEM, SINCE, WITHDRAWN, Feature

_PART_ROWS = 1_000_000
_SEPARATOR = "\x1f"


@dataclasses.dataclass(frozen=True)
class Differences:
    """What rows have changed: how many items are new, other than before, back, gone, as before; and repeats.

    Of an item that is named more than once the last row counts, and the others are `repeats`. `absent` of what is
    `withdrawn` are items that a snapshot did not name.
    """

    added: int
    changed: int
    returned: int
    withdrawn: int
    unchanged: int
    repeats: int
    absent: int


def state_schema(features: Sequence[Feature]) -> pa.Schema:
    """Of a catalogue: `item` binary, the spans `since` and `changed` int64, `withdrawn` bool, then the features.

    `since` is the span in which the item first appeared, `changed` the last in which anything of it was other than
    before.
    """
    fixed = [(ITEM, pa.binary()), (SINCE, pa.int64()), (CHANGED, pa.int64()), (WITHDRAWN, pa.bool_())]
    return pa.schema([*fixed, *((feature.name, type_of(feature)) for feature in features)])


def apply_rows(state: pa.Table, rows: pa.Table, span: int, snapshot: bool) -> tuple[pa.Table, Differences]:
    """The catalogue after `rows`.

    Args:
      state: as of `state_schema`, each item once.
      rows: `item`, `withdrawn` and the features, in the order in which they hold.
      span: the span's number.
      snapshot: whether what `rows` does not name is withdrawn.
    """
    every = len(rows)
    rows = rows.take(pa.array(_last_of_each(rows[ITEM])))
    names = [field.name for field in state.schema if field.name not in (ITEM, SINCE, CHANGED)]
    place = as_numpy(pc.fill_null(pc.index_in(rows[ITEM], value_set=as_array(state[ITEM])), -1))
    known = place >= 0
    before, after = state.take(pa.array(place[known])), rows.filter(pa.array(known))
    other = np.zeros(len(before), bool)
    for name in names:
        if name != WITHDRAWN:
            other |= ~same_values(before[name], after[name])
    was, is_now = as_numpy(before[WITHDRAWN]), as_numpy(after[WITHDRAWN])
    named = np.zeros(len(state), bool)
    named[place[known]] = True
    absent = ~named & ~as_numpy(state[WITHDRAWN]) if snapshot else np.zeros(len(state), bool)

    source = np.arange(len(state))
    source[place[known]] = len(state) + np.flatnonzero(known)
    both = pa.concat_tables([state.select([ITEM, *names]), rows.select([ITEM, *names])]).combine_chunks()
    both = both.take(pa.array(np.concatenate([source, len(state) + np.flatnonzero(~known)])))
    count = int((~known).sum())
    since = np.concatenate([as_numpy(state[SINCE]), np.full(count, span)])
    changed = as_numpy(state[CHANGED]).copy()
    changed[place[known][other | (was != is_now)]] = span
    changed[absent] = span
    withdrawn = as_numpy(both[WITHDRAWN]).copy()
    withdrawn[: len(state)] |= absent
    columns = {
        **{name: both[name] for name in both.schema.names},
        SINCE: pa.array(since),
        CHANGED: pa.array(np.concatenate([changed, np.full(count, span)])),
        WITHDRAWN: pa.array(withdrawn),
    }
    after_all = pa.table([columns[field.name] for field in state.schema], schema=state.schema)
    return after_all, Differences(
        added=count,
        changed=int((other & (was == is_now)).sum()),
        returned=int((was & ~is_now).sum()),
        withdrawn=int((~was & is_now).sum() + absent.sum()),
        unchanged=int((~other & (was == is_now)).sum()),
        repeats=every - len(rows),
        absent=int(absent.sum()),
    )


def with_features(state: pa.Table, features: Sequence[Feature]) -> pa.Table:
    """The state with the columns of `features`: one that it did not have is missing everywhere."""
    schema = state_schema(features)
    columns = []
    for field in schema:
        there = field.name in state.schema.names and state.schema.field(field.name).type == field.type
        columns.append(state[field.name] if there else pa.chunked_array([pa.nulls(len(state), field.type)]))
    return pa.table(columns, schema=schema)


def save_table(table: pa.Table, folder: str | Path) -> None:
    """Writes a table as the part files of `folder`."""
    parts = range(0, max(len(table), 1), _PART_ROWS)
    for number, start in enumerate(parts):
        with atomic_write(Path(folder) / f"items-{number:05d}-of-{len(parts):05d}.parquet") as beside:
            pq.write_table(table.slice(start, _PART_ROWS), beside, compression="zstd")


def load_table(folder: str | Path) -> pa.Table | None:
    """Reads what `save_table` wrote; None where there is nothing."""
    files = sorted(Path(folder).glob("items-*.parquet"))
    return pa.concat_tables([pq.read_table(file) for file in files]) if files else None


def _last_of_each(ids: pa.ChunkedArray) -> np.ndarray:
    """Places of the last row of each id, in the order in which the ids first occur."""
    codes = as_numpy(as_array(ids).dictionary_encode().indices)
    last = np.zeros(int(codes.max(initial=-1)) + 1, np.int64)
    last[codes] = np.arange(len(codes))  # of several that are assigned to one place numpy keeps the last
    return last


def same_values(left: pa.Array | pa.ChunkedArray, right: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Which values are equal, bool [n]; missing ones, and numbers that can't be read, are like each other."""
    if pa.types.is_list(left.type):
        left, right = (pc.binary_join(values, _SEPARATOR) for values in (left, right))
    both_missing = as_numpy(pc.is_null(left)) & as_numpy(pc.is_null(right))
    equal = as_numpy(pc.fill_null(pc.equal(left, right), False)) | both_missing
    if pa.types.is_floating(left.type):
        equal |= as_numpy(pc.fill_null(pc.and_(pc.is_nan(left), pc.is_nan(right)), False))
    return equal


def as_array(values: pa.ChunkedArray) -> pa.Array:
    """All chunks in one, or an empty one of its type."""
    return pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)


def as_numpy(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """The values, without a mask."""
    return values.to_numpy() if isinstance(values, pa.ChunkedArray) else values.to_numpy(zero_copy_only=False)
