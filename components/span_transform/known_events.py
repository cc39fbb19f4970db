"""Events that an earlier span has brought already: an export that overlaps the last one is not learned twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.span_transform import history as history_lib


def without_known(events: pa.Table, history: str | Path, until: int) -> tuple[pa.Table, int]:
    """Leaves out events with the key, item, time and weight of one in yesterday's history.

    Args:
      events: of one file (`events.SCHEMA`).
      history: yesterday's. It keeps of each key as many events as the model sees; what is older is not known any more.
      until: the latest time in it. Where no event is as early, nothing is read.

    Returns:
      The others, in their order, and how many were left out.
    """
    early = np.flatnonzero(events["timestamp"].to_numpy() <= until)
    if not len(early):
        return events, 0
    candidates = events.take(pa.array(early))
    keys = pc.unique(candidates["key"])
    tables = (history_lib.read_file(path) for path in history_lib.shards_in(history))
    old = pa.concat_tables(table.filter(pc.is_in(table["key"], value_set=keys)) for table in tables)
    again = repeated(candidates, old)
    keep = np.ones(len(events), dtype=bool)
    keep[early[again]] = False
    return events.filter(pa.array(keep)), int(again.sum())


def repeated(events: pa.Table, history: pa.Table) -> np.ndarray:
    """Which of `events` have the key, item, time and weight of one in a history (`history.SCHEMA`), bool [n]."""
    codes = _codes(events, _one_a_row(history))
    return np.isin(codes[: len(events)], codes[len(events) :])


def _one_a_row(table: pa.Table) -> pa.Table:
    table = table.combine_chunks()
    owner = pa.array(np.repeat(np.arange(len(table)), history_lib.lengths(table["items"])))
    return pa.table(
        {
            "key": table["key"].take(owner),
            "item": pc.list_flatten(table["items"]),
            "timestamp": pc.list_flatten(table["timestamps"]),
            "weight": pc.list_flatten(table["weights"]),
        }
    )


def _codes(*tables: pa.Table) -> np.ndarray:
    """A number for each row of all tables, the same for equal rows."""
    codes = np.zeros(sum(map(len, tables)), np.int64)
    for name in ("key", "item", "timestamp", "weight"):
        chunks = [chunk for table in tables for chunk in table[name].chunks]
        column = pc.dictionary_encode(pa.chunked_array(chunks, tables[0].schema.field(name).type)).combine_chunks()
        column = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
        values = column.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        codes = np.unique(np.stack([codes, values]), axis=1, return_inverse=True)[1].reshape(-1)
    return codes
