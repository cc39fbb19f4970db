"""Catalogues by day through the encoding: with Beam and a tiny BERT, or the shards alone with made vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.artifacts import Catalogue, ItemEncodings, TunedEncoder
from components.item_encoder import Encodings, Settings
from components.item_encoder.encodings import shards_of_items
from components.item_encoder.executor import COUNTS, Executor
from components.item_encoder.item_shard import by_text, partition, read_rows, update_items
from components.item_encoder.text_shard import TextShard

Texts = Mapping[str, str | None]
WIDTH = 4


def settings_of(folder: Path | str, **changes) -> Settings:
    plain = {
        "name": "title", "folder": str(folder), "text": "title", "max_tokens": 12, "batch": 4, "prefix": "",
        "keep_unused": 2, "rows_per_shard": 100_000,
    }  # fmt: skip
    return Settings(**{**plain, **changes})


def write_catalogue(folder: Path, texts: Texts, files: int = 1) -> Catalogue:
    """Every `files`-th item to a file of its own."""
    folder.mkdir(parents=True)
    rows = list(texts.items())
    for number in range(files):
        part = rows[number::files]
        table = pa.table(
            {
                "item": pa.array([item for item, _ in part], pa.string()),
                "title": pa.array([text for _, text in part], pa.string()),
                "price": pa.array([1.0] * len(part), pa.float32()),
            }
        )
        pq.write_table(table, folder / f"part-{number:05d}.parquet", row_group_size=5)
    catalogue = Catalogue()
    catalogue.uri = str(folder)
    return catalogue


def run_day(
    base: Path,
    span: int,
    texts: Texts,
    settings: Settings,
    yesterday: Sequence[ItemEncodings] = (),
    files: int = 2,
    tuned: Sequence[TunedEncoder] = (),
) -> ItemEncodings:
    """A day through the executor, in a folder of its own below `base`."""
    output = ItemEncodings()
    output.uri = str(base / f"encodings-{span}")
    inputs = {
        "catalogue": [write_catalogue(base / f"catalogue-{span}", texts, files)],
        "yesterday_encodings": [*yesterday],
        "tuned": [*tuned],
    }
    Executor().Do(inputs, {"encodings": [output]}, {"span": span, "settings": settings.to_json()})
    return output


def made_vector(text: str) -> np.ndarray:
    """A vector that says which text it is of."""
    return np.frombuffer(hashlib.sha256(text.encode()).digest()[: 2 * WIDTH], "<u2").astype(np.float32)


def run_shards(
    base: Path, span: int, texts: Texts, shards: int, keep_unused: int, yesterday: Encodings | None
) -> tuple[Encodings, list[str]]:
    """What the executor does, without Beam and with made vectors; also what was encoded, in order."""
    write_catalogue(base / f"catalogue-{span}", texts)
    folder = base / f"encodings-{span}"
    folder.mkdir()
    path = base / f"catalogue-{span}" / "part-00000.parquet"
    groups = range(pq.read_metadata(path).num_row_groups)
    rows = [read_rows(str(path), group, "title", "digest") for group in groups]
    of_items = [partition(table, shards_of_items(table["item"], shards)) for table in rows]
    counts, changes, encoded = dict.fromkeys(COUNTS, 0), [], []
    for number in range(shards):
        updated = update_items([part[number] for part in of_items if number in part], number, shards, folder, yesterday)
        changes.append(by_text(updated.changes, shards))
        counts = {name: count + updated.counts.get(name, 0) for name, count in counts.items()}
    for number in range(shards):
        parts = [part[number] for part in changes if number in part]
        shard = TextShard.of(parts, number, shards, span, yesterday)
        keys, new = shard.to_encode()
        encoded += new
        vectors = np.array([made_vector(text) for text in new], np.float32).reshape(-1, WIDTH)
        finished = shard.finish(folder, keys, vectors, keep_unused)
        counts = {name: count + finished.get(name, 0) for name, count in counts.items()}
    today = Encodings(folder, "digest", "title_digest", "title", WIDTH, span, shards, counts)
    today.write()
    return today, encoded
