"""The newest item table for TensorBoard's page `Projector`, with titles."""

from __future__ import annotations

import dataclasses
import io
import math
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
from google.protobuf import text_format
from tensorboard.plugins.projector import projector_config_pb2

from components.incremental_trainer.artifact_files import STATE_FOLDER
from components.incremental_trainer.item_columns import ItemsFileError, item_columns
from pipeline.config import Config
from pipeline.ledger.runs import Run
from pipeline.parameters.graph_parameters import GraphParameters
from trainer.atomic_write import atomic_write
from trainer.diagnostics import vectors
from trainer.models import find_model
from trainer.vocabulary import Vocabulary

CONFIG = "projector_config.pbtxt"
ITEMS = 1000  # the most popular ones: what a browser lays out while one waits


def write_projector(config: Config, run: Run, folder: Path, model: Path, vocabulary: Path) -> None:
    """Writes vectors, ids and titles of the `ITEMS` most popular items under `folder`; a newer span's stay.

    Nothing is written for a model that keeps no vector an item, or whose artifact was removed.
    """
    newest = max((_span(path.name) for path in folder.glob("items-*.tsv")), default=-1)
    table = _table(config, model)
    if table is None or newest > run.span:
        return
    items = Vocabulary.load(vocabulary, "items")
    count = min(len(items.ids), len(table) - items.first_row)
    order = np.argsort(-items.recent[:count], kind="stable")[:ITEMS]
    values, about = f"items-{run.span:010d}.tsv", f"items-{run.span:010d}-titles.tsv"
    ids = items.ids.take(pa.array(order))
    columns = [
        [id_.decode("utf-8", "replace") for id_ in ids.to_pylist()],
        _titles(config, ids),
        [f"{value:.4g}" for value in items.recent[order]],
        [str(value) for value in items.counts[order]],
    ]
    head = ("id", "title", "recent events", "events")
    _write_numbers(folder / values, table[order + items.first_row])
    _replace(folder / about, "".join("\t".join(map(_cell, row)) + "\n" for row in [head, *zip(*columns, strict=True)]))
    shown = projector_config_pb2.ProjectorConfig()
    shown.embeddings.add(
        tensor_name=f"items of {run.name}",
        tensor_path=values,
        tensor_shape=[len(order), table.shape[1]],
        metadata_path=about,
    )
    _replace(folder / CONFIG, text_format.MessageToString(shown))
    for old in folder.glob("items-*.tsv"):
        if old.name not in (values, about):
            old.unlink()


def _span(name: str) -> int:
    match = re.match(r"items-(\d+)", name)
    return int(match[1]) if match else -1


def _table(config: Config, model: Path) -> np.ndarray | None:
    """The first table of items that has a vector a row; of the file only that one is read."""
    file = model / STATE_FOLDER / "weights.npz"
    if not file.exists():
        return None
    with np.load(file, allow_pickle=False) as weights:
        item_vectors = vectors(find_model(config.model.type).tables, weights, "items")
    return None if item_vectors is None else item_vectors[1]


def _titles(config: Config, ids: pa.Array) -> list[str]:
    settings = dataclasses.replace(GraphParameters.of(config).trainer, columns=None, available_column=None)
    try:
        return item_columns(ids, settings)[0]["titles"]
    except ItemsFileError:  # was there when the day was trained; a title is not worth the day's failure
        return [""] * len(ids)


def _write_numbers(path: Path, values: np.ndarray) -> None:
    """Four digits of the greatest: what an eye can see."""
    digits = 3 - math.floor(math.log10(max(float(np.max(np.abs(values), initial=0.0)), 1e-30)))
    columns = list(np.round(values, digits).astype(np.float32).T)
    table = pa.table(columns, [str(number) for number in range(len(columns))])
    out = io.BytesIO()
    pyarrow.csv.write_csv(table, out, pyarrow.csv.WriteOptions(include_header=False, delimiter="\t"))
    _replace(path, out.getvalue().decode())


def _cell(text: str) -> str:
    """One cell, whatever is in it."""
    return re.sub(r"\s+", " ", text)


def _replace(path: Path, text: str) -> None:
    with atomic_write(path) as beside:
        beside.write_text(text, encoding="utf-8")
