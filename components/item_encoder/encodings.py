"""The encodings of a catalogue as they lie in their folder, and how they are read.

    encodings.json                        the header, written last: without it the folder is not whole
    items-SHARD.parquet                   item, key: the text that each item has; no key: it has none
    items_index-SHARD.parquet             key, uses, unused_since: the texts whose vectors are kept
    items_vectors-SHARD-NUMBER.parquet    key, vector: of the newest file counts

A key is SHA-256 of the encoder's digest and the text. Items are in the shard of their own hash, texts in that of their
key. Files are never changed, so that a day shares with the day before, by hard links, those that stayed as they were.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.span_transform.events import key_hashes
from trainer.atomic_write import atomic_write
from trainer.ids import Ids, as_binary

HEADER = "encodings.json"
ITEMS = pa.schema([("item", pa.binary()), ("key", pa.binary())])
INDEX = pa.schema([("key", pa.binary()), ("uses", pa.int64()), ("unused_since", pa.int64())])
_FORMAT = 1


class EncodingsError(ValueError):
    """A catalogue, or yesterday's encodings, can't be used; the message says what, the rule, what was received."""


def vector_schema(width: int) -> pa.Schema:
    """Of the files of vectors."""
    return pa.schema([("key", pa.binary()), ("vector", pa.list_(pa.float32(), width))])


def items_path(folder: str | Path, shard: int) -> Path:
    """The file of a shard of items."""
    return Path(folder) / f"items-{shard:05d}.parquet"


def index_path(folder: str | Path, shard: int) -> Path:
    """The file that says which texts of a shard have a vector."""
    return Path(folder) / f"items_index-{shard:05d}.parquet"


def vector_path(folder: str | Path, shard: int, number: int) -> Path:
    """One of the files of vectors of a shard."""
    return Path(folder) / f"items_vectors-{shard:05d}-{number:09d}.parquet"


def vector_files(folder: str | Path, shard: int) -> list[Path]:
    """The files of vectors of a shard, oldest first."""
    return sorted(Path(folder).glob(f"items_vectors-{shard:05d}-*.parquet"))


def shards_of_items(items: Ids, shards: int) -> npt.NDArray[np.int64]:
    """The shard of each item, `[n]`."""
    return key_hashes(items) % shards if shards > 1 else np.zeros(len(items), np.int64)


def shards_of_keys(keys: pa.Array | pa.ChunkedArray, shards: int) -> npt.NDArray[np.int64]:
    """The shard of each key, `[n]`: by its last bytes, which are as good as random."""
    tails = b"".join(key[-4:] for key in keys.to_pylist())
    return np.frombuffer(tails, "<u4").astype(np.int64) % shards


def write_table(table: pa.Table, path: Path) -> None:
    """Writes the whole file or none."""
    with atomic_write(path) as beside:
        pq.write_table(table, beside, use_dictionary=False)


@dataclasses.dataclass(frozen=True)
class Encodings:
    """A folder of encodings.

    Attributes:
      folder: Where it is.
      encoder: The encoder's digest; every vector is of this one.
      column: The name of the vectors for those who learn from them: another encoder has another one.
      text: The catalogue's column that was encoded.
      width: Numbers in a vector.
      span: The span of the catalogue.
      shards: Into how many shards items and texts are cut, a power of two.
      counts: `items` = `texts` + `missing`; of the texts `new` and `changed`; `texts` = `encoded` + `reused`; `removed`
        items; `dropped` vectors that nothing has used for long; `kept` vectors, in `files`.
    """

    folder: Path
    encoder: str
    column: str
    text: str
    width: int
    span: int
    shards: int
    counts: dict[str, int]

    @classmethod
    def open(cls, folder: str | Path) -> Encodings:
        """Reads the header.

        Raises:
          EncodingsError: the folder is not whole, or of a later version of warmspan.
        """
        folder = Path(folder)
        try:
            header: dict[str, Any] = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise EncodingsError(
                f"Encodings must be whole, with {HEADER}, which is written last. Received: {folder} without it. "
                "Run the span again that they are of."
            ) from None
        if (version := header.pop("format")) != _FORMAT:
            raise EncodingsError(
                f"Encodings must be of format {_FORMAT}. Received: {version} in {folder}. Run with the version of "
                "warmspan that wrote them."
            )
        return cls(folder=folder, **header)

    def write(self) -> None:
        """Writes the header, once all else lies there."""
        header = {"format": _FORMAT, **dataclasses.asdict(self)}
        del header["folder"]
        with atomic_write(self.folder / HEADER) as beside:
            beside.write_text(json.dumps(header, indent=1), encoding="utf-8")

    def vectors(self, items: Ids) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """What a model learns from: vectors `[n, width]`, and `[n]` which items have no text.

        An item without a text, or that the catalogue does not have, is zeros, and missing.
        """
        items = as_binary(items)
        keys = self._keys(items)
        vectors, missing = np.zeros([len(items), self.width], np.float32), np.ones(len(items), bool)
        asked = np.flatnonzero(keys.is_valid().to_numpy(zero_copy_only=False))
        of_shard = shards_of_keys(keys.take(pa.array(asked)), self.shards)
        for shard in np.unique(of_shard):
            rows = asked[of_shard == shard]
            wanted = keys.take(pa.array(rows)).dictionary_encode()
            codes = wanted.indices.to_numpy(zero_copy_only=False)
            known = np.zeros([len(wanted.dictionary), self.width], np.float32)
            there = np.zeros(len(wanted.dictionary), bool)
            for path in vector_files(self.folder, int(shard)):
                for table in row_groups(path):
                    place = pc.index_in(table["key"], value_set=wanted.dictionary)
                    hit = place.is_valid()
                    place = pc.drop_null(place).to_numpy()
                    known[place] = matrix_of(table.filter(hit)["vector"], self.width)
                    there[place] = True
            if not there.all():
                raise EncodingsError(
                    f"Every text of an item must have its vector. Received: {self.folder} without {np.sum(~there)} of "
                    f"shard {shard}. Run the span again that they are of."
                )
            vectors[rows], missing[rows] = known[codes], False
        return vectors, missing

    def _keys(self, items: pa.Array) -> pa.Array:
        """The key of each item's text, null where there is none."""
        of_shard, places, keys = shards_of_items(items, self.shards), [], []
        for shard in np.unique(of_shard):
            rows = np.flatnonzero(of_shard == shard)
            table = pq.read_table(items_path(self.folder, int(shard)))
            keys.append(table["key"].take(pc.index_in(items.take(pa.array(rows)), value_set=table["item"])))
            places.append(rows)
        if not keys:
            return pa.array([], pa.binary())
        together = pa.chunked_array([chunk for part in keys for chunk in part.chunks], pa.binary())
        return pa.array(together.take(pa.array(np.argsort(np.concatenate(places)))).to_pylist(), pa.binary())


def row_groups(path: Path, columns: Sequence[str] | None = None) -> Any:
    """The row groups of a file, one table after the other."""
    file = pq.ParquetFile(path)
    for group in range(file.num_row_groups):
        yield file.read_row_group(group, columns)


def matrix_of(vectors: pa.ChunkedArray, width: int) -> npt.NDArray[np.float32]:
    """A column of vectors as `[n, width]`."""
    parts = [chunk.flatten().to_numpy() for chunk in vectors.chunks]
    return np.concatenate(parts or [np.zeros(0, np.float32)]).reshape(-1, width)
