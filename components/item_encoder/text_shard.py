"""One shard of the texts: which are to be encoded, and what is kept of vectors.

Vectors are appended: what a day encodes is a file of its own. A last file with less than twice the rows that go after
it is written together with them, so that a shard of n vectors has at most about log2(n) files and a vector is copied
about as often (O'Neil et al., "The log-structured merge-tree", 1996, with a factor of two). Dropped vectors go when
their file is merged, and all at once when they are more than half.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.item_encoder.encodings import (
    INDEX,
    Encodings,
    EncodingsError,
    index_path,
    row_groups,
    shards_of_keys,
    vector_files,
    vector_path,
    vector_schema,
    write_table,
)
from components.item_encoder.item_shard import CHANGES
from components.item_encoder.sharing import share
from trainer.atomic_write import atomic_write
from trainer.ids import as_binary

_GROUP_BYTES = 32 << 20


@dataclasses.dataclass(frozen=True)
class TextShard:
    """A shard of texts at the start of a day.

    Attributes:
      number: Which one.
      shards: How many there are.
      span: The number of the span.
      yesterday: Encodings by the same encoder, in no more shards; None where everything is encoded.
      index: Yesterday's texts.
      used: The texts whose use changes today: key, uses (the difference), text (where it may be used more).
    """

    number: int
    shards: int
    span: int
    yesterday: Encodings | None
    index: pa.Table
    used: pa.Table

    @classmethod
    def of(cls, changes: list[pa.Table], number: int, shards: int, span: int, yesterday: Encodings | None) -> TextShard:
        """Reads yesterday's index and adds the day's changes up, text by text."""
        index = INDEX.empty_table()
        if yesterday is not None:
            index = pq.read_table(index_path(yesterday.folder, number % yesterday.shards)).cast(INDEX)
            if yesterday.shards != shards:
                index = index.filter(pa.array(shards_of_keys(index["key"], shards) == number))
        return cls(
            number, shards, span, yesterday, index, _added_up(pa.concat_tables([CHANGES.empty_table(), *changes]))
        )

    def to_encode(self) -> tuple[list[bytes], list[str]]:
        """Keys and texts without a vector, short texts first, so that texts of a length are encoded together."""
        more = self.used.filter(pc.greater(self.used["uses"], 0))
        more = more.filter(pc.invert(pc.is_in(more["key"], value_set=self.index["key"])))
        more = more.take(pa.array(np.argsort(pc.utf8_length(more["text"]).to_numpy(), kind="stable")))
        return more["key"].to_pylist(), more["text"].to_pylist()

    def finish(
        self, folder: str | Path, keys: list[bytes], vectors: npt.NDArray[np.float32], keep_unused: int
    ) -> dict[str, int]:
        """Writes today's index and vectors.

        Args:
          folder: Where to write.
          keys: Of the texts that were encoded.
          vectors: `[n, width]`.
          keep_unused: After how many spans without an item a text is dropped.

        Returns:
          Counts: `encoded`, `dropped`, `kept`, `files`.
        """
        order = sorted(range(len(keys)), key=keys.__getitem__)  # in whatever order they came
        keys, vectors = [keys[place] for place in order], vectors[order]
        index, dropped = self._index(keys, keep_unused)
        write_table(index, index_path(folder, self.number))
        files = self._write_vectors(Path(folder), index["key"], keys, vectors)
        return {"encoded": len(keys), "dropped": dropped, "kept": len(index), "files": files}

    def _index(self, encoded: list[bytes], keep_unused: int) -> tuple[pa.Table, int]:
        """Today's index, and how many texts are dropped."""
        keys = pa.concat_arrays([*self.index["key"].chunks, pa.array(encoded, pa.binary())])
        changed = pc.index_in(keys, value_set=self.used["key"])
        before = np.concatenate([_numbers(self.index["uses"]), np.zeros(len(encoded), np.int64)])
        uses = before + _numbers(pc.fill_null(self.used["uses"].take(changed), 0))
        if uses.min(initial=0) < 0 or len(changed) - changed.null_count < len(self.used):
            assert self.yesterday is not None
            raise EncodingsError(
                f"Yesterday's encodings must know every text that yesterday's items have. Received: "
                f"{self.yesterday.folder}, whose files do not belong together. Run that span again, or remove it "
                "from the root: without it everything is encoded anew."
            )
        since = np.concatenate([_numbers(pc.fill_null(self.index["unused_since"], self.span)), np.zeros(len(encoded))])
        since = np.where(uses > 0, self.span, since).astype(np.int64)
        kept = (uses > 0) | (self.span - since < keep_unused)
        table = pa.table([keys, pa.array(uses), pa.array(since, mask=uses > 0)], schema=INDEX)
        return table.filter(pa.array(kept)), int(np.sum(~kept))

    def _write_vectors(
        self, folder: Path, live: pa.ChunkedArray, keys: list[bytes], vectors: npt.NDArray[np.float32]
    ) -> int:
        """Appends what was encoded, merges what is due and shares the rest; returns the number of files."""
        old = [] if self.yesterday is None else vector_files(self.yesterday.folder, self.number % self.yesterday.shards)
        rows = {path: pq.read_metadata(path).num_rows for path in old}
        split = self.yesterday is not None and self.yesterday.shards != self.shards
        merged: list[Path] = []
        if split or sum(rows.values()) + len(keys) > 2 * len(live):
            merged, old = old, []
        elif keys:
            total = len(keys)
            while old and rows[old[-1]] < 2 * total:
                total += rows[old[-1]]
                merged.insert(0, old.pop())
        for path in old:
            share(path, vector_path(folder, self.number, _number(path)))
        written = bool(len(live) and (keys or merged))
        if written:
            next_number = 1 + max(map(_number, rows), default=-1)
            _merge(vector_path(folder, self.number, next_number), live, keys, vectors, merged)
        return len(old) + written


def _added_up(changes: pa.Table) -> pa.Table:
    """A row a key, in their order: the sum of its uses, and its text where a row has it."""
    changes = changes.sort_by("key")
    keys = as_binary(changes["key"]).dictionary_encode()
    codes = keys.indices.to_numpy()
    uses = np.zeros(len(keys.dictionary), np.int64)
    np.add.at(uses, codes, changes["uses"].to_numpy())
    with_text = np.flatnonzero(changes["text"].is_valid().to_numpy())
    known, first = np.unique(codes[with_text], return_index=True)
    row_of = np.full(len(uses), -1, np.int64)
    row_of[known] = with_text[first]
    texts = changes["text"].take(pa.array(row_of, mask=row_of < 0))
    return pa.table([keys.dictionary, pa.array(uses), texts], schema=CHANGES)


def _merge(
    path: Path, live: pa.ChunkedArray, keys: list[bytes], vectors: npt.NDArray[np.float32], merged: list[Path]
) -> None:
    """Writes one file of the new vectors and those of other files that are live, each once."""
    width = vectors.shape[1]
    schema = vector_schema(width)
    new = pa.table(
        [pa.array(keys, pa.binary()), pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), width)],
        schema=schema,
    )
    there = np.zeros(len(live) + 1, bool)
    there[-1] = True  # stands for what is not live
    group = max(1, _GROUP_BYTES // (4 * width))
    with (
        atomic_write(path) as beside,
        pq.ParquetWriter(beside, schema, compression="none", use_dictionary=False) as out,
    ):
        for table in (new, *(table for source in reversed(merged) for table in row_groups(source))):
            place = pc.fill_null(pc.index_in(table["key"], value_set=live), -1).to_numpy()
            kept = ~there[place]
            there[place] = True
            if kept.any():
                out.write_table(table.filter(pa.array(kept)).cast(schema), group)


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def _numbers(column: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.int64]:
    return column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
