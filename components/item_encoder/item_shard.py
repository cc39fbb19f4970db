"""One shard of the items: today's texts against yesterday's."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.item_encoder.encodings import (
    ITEMS,
    Encodings,
    EncodingsError,
    items_path,
    shards_of_items,
    shards_of_keys,
    write_table,
)
from components.item_encoder.sharing import share
from trainer.encoders.texts import normalize_text

ROWS = ITEMS.append(pa.field("text", pa.large_string()))
# How often more, or less often, a text is used than yesterday; the text itself where it is used more often.
CHANGES = pa.schema([("key", pa.binary()), ("uses", pa.int64()), ("text", pa.large_string())])


def read_rows(path: str, group: int, column: str, encoder: str) -> pa.Table:
    """A row group of the catalogue as `ROWS`: no key and no text where there is no text.

    Raises:
      EncodingsError: a column is not there or of another type, or a row has no item.
    """
    file = pq.ParquetFile(path)
    schema = file.schema_arrow
    for name in ("item", column):
        kinds = [str(schema.field(name).type)] if name in schema.names else []
        if kinds not in (["string"], ["binary"], ["large_string"], ["large_binary"]):
            raise EncodingsError(
                f"A catalogue must have a column of strings `{name}`. Received: {kinds[0] if kinds else 'none'} in "
                f"{path}, which has {', '.join(schema.names)}. Correct the name of the encoder's column of texts, or "
                "its type in the catalogue."
            )
    table = file.read_row_group(group, ["item", column])
    items = table["item"].cast(pa.binary())
    if items.null_count:
        raise EncodingsError(
            f"Every row of a catalogue must have an item. Received: {items.null_count} without one in {path}. "
            "Correct the catalogue."
        )
    texts = [normalize_text(text) for text in table[column].to_pylist()]
    salt = hashlib.sha256(f"{encoder}\0".encode())
    keys = []
    for text in texts:
        digest = salt.copy()
        digest.update(text.encode())
        keys.append(digest.digest() if text else None)
    arrays = [items, pa.array(keys, pa.binary()), pa.array([text or None for text in texts], pa.large_string())]
    return pa.table(arrays, schema=ROWS).combine_chunks()


def partition(table: pa.Table, of_shard: npt.NDArray[np.int64]) -> dict[int, pa.Table]:
    """Cuts a table by the shard of each row; shards without one are left out."""
    order = np.argsort(of_shard, kind="stable")
    shards, starts = np.unique(of_shard[order], return_index=True)
    parts = np.split(order, starts[1:]) if len(shards) else []
    return {int(shard): table.take(pa.array(rows)) for shard, rows in zip(shards, parts, strict=True)}


@dataclasses.dataclass(frozen=True)
class ItemShard:
    """What a day brings to a shard of items: its file, written; what changes of texts' use; counts."""

    changes: pa.Table
    counts: dict[str, int]


def update_items(
    rows: list[pa.Table], shard: int, shards: int, folder: str | Path, yesterday: Encodings | None
) -> ItemShard:
    """Writes today's file of a shard of items.

    Args:
      rows: All of today's rows of the shard.
      shard: Its number.
      shards: How many there are.
      folder: Where to write.
      yesterday: Encodings by the same encoder, in no more shards.

    Raises:
      EncodingsError: an item stands in two rows.
    """
    today = pa.concat_tables([ROWS.empty_table(), *rows]).sort_by("item").combine_chunks()
    items = today["item"]
    if (twice := np.flatnonzero(pc.equal(items[1:], items[:-1]).to_numpy())).size:
        raise EncodingsError(
            f"An item must stand in one row of a catalogue. Received: {items[int(twice[0])].as_py()!r} in two or more, "
            f"and {len(twice) - 1} more rows like it. Correct the catalogue."
        )
    before, same_shard = ITEMS.empty_table(), False
    if yesterday is not None:
        before = pq.read_table(items_path(yesterday.folder, shard % yesterday.shards)).cast(ITEMS)
        same_shard = yesterday.shards == shards
        if not same_shard:
            before = before.filter(pa.array(shards_of_items(before["item"], shards) == shard))
    old_keys = before["key"].take(pc.index_in(items, value_set=before["item"]))
    known = pc.is_in(items, value_set=before["item"])
    gone = before.filter(pc.invert(pc.is_in(before["item"], value_set=items)))
    has_text = today["key"].is_valid()
    # Equal where both have the same text, or neither has one.
    unlike = pc.fill_null(pc.not_equal(today["key"], old_keys), True)
    unlike = pc.and_(unlike, pc.or_(has_text, old_keys.is_valid()))
    altered = today.filter(unlike)
    changes = pa.concat_tables(
        [
            _changes(altered["key"], 1, altered["text"]),
            _changes(pa.chunked_array([*old_keys.filter(unlike).chunks, *gone["key"].chunks], pa.binary()), -1),
        ]
    )
    path = items_path(folder, shard)
    if yesterday is not None and same_shard and not (len(altered) or len(gone) or not _all(known)):
        share(items_path(yesterday.folder, shard), path)
    else:
        write_table(today.select(ITEMS.names), path)
    texts = pc.sum(has_text).as_py() or 0
    return ItemShard(
        changes,
        {
            "items": len(today),
            "texts": texts,
            "missing": len(today) - texts,
            "new": pc.sum(pc.and_(has_text, pc.invert(known))).as_py() or 0,
            "changed": pc.sum(pc.and_(pc.and_(has_text, known), unlike)).as_py() or 0,
            "removed": len(gone),
        },
    )


def by_text(changes: pa.Table, shards: int) -> dict[int, pa.Table]:
    """The changes by the shard of their text."""
    return partition(changes, shards_of_keys(changes["key"], shards))


def _changes(keys: pa.ChunkedArray, uses: int, texts: pa.ChunkedArray | None = None) -> pa.Table:
    texts = pa.nulls(len(keys), pa.large_string()) if texts is None else texts
    table = pa.table([keys, pa.array(np.full(len(keys), uses, np.int64)), texts], schema=CHANGES)
    return table.filter(table["key"].is_valid())


def _all(flags: pa.ChunkedArray) -> bool:
    return bool(pc.all(flags, min_count=0).as_py())
