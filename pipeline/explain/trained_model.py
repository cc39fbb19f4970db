"""A trained model as its artifact keeps it, asked with raw ids, without loading its SavedModel."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.incremental_trainer.artifact_files import STATE_FOLDER
from components.incremental_trainer.item_columns import ItemsFileError, item_columns
from components.span_transform.history import shards_in
from pipeline.config import Config
from pipeline.ledger.reader import LedgerReader
from pipeline.metadata_store.connection import connect
from pipeline.parameters.graph_parameters import GraphParameters
from serving.bundle.protocols import UNAVAILABLE
from trainer.ids import hash_buckets
from trainer.models.attribution import Attribution
from trainer.models.base import Recommender
from trainer.row_numbers import Numbering, RowNumbers
from trainer.train_state import ModelState
from trainer.update import rebuild
from trainer.vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True)
class Ids:
    """The ids behind the rows, those of the newest span. A model of an earlier one may know others, in other rows.

    Attributes:
      items, keys: the vocabularies.
      titles: item id to its title, where the items file has one.
      available: bool [items], whether an item may be recommended.
    """

    items: Vocabulary
    keys: Vocabulary
    titles: dict[bytes, str]
    available: np.ndarray

    @property
    def numbering(self) -> Numbering:
        """What the rows are called in the files of a span."""
        return Numbering(self.items.row_numbers, self.keys.row_numbers)

    def title(self, item: bytes) -> str:
        return self.titles.get(item, "")


class TrainedModel:
    """A model rebuilt from its state."""

    def __init__(self, model: Recommender, ids: Ids) -> None:
        self.model, self.ids = model, ids

    def __call__(self, user: bytes, histories: Sequence[Sequence[bytes]], items: Sequence[bytes]) -> np.ndarray:
        """As `serving.bundle.attribution.ScoreFn`; of what no served model recommends the scores are -1e30 too."""
        import tensorflow as tf

        history = np.concatenate([self.history_rows(events) for events in histories])
        rows = self._item_rows(items)
        key = np.repeat(self.key_row(user), len(histories))
        item_rows = np.broadcast_to(rows, (len(histories), len(rows)))
        scores = self.model.score(tf.constant(key), tf.constant(history), tf.constant(item_rows)).numpy()
        shown = rows >= self.model.sizes.first_row
        newest = self.ids.items.lookup(list(items)) - self.ids.items.first_row
        shown[shown] &= self.ids.available[newest[shown]]
        return np.where(shown, scores, UNAVAILABLE)

    @property
    def items(self) -> list[bytes]:
        """The items that it has a row of its own for, in the order of the rows; b"" for one that has left since."""
        rows = np.arange(self.model.sizes.first_row, self.model.sizes.items)
        now = self.model.sizes.numbering.items.moved(rows, self.ids.items.row_numbers)
        return [item or b"" for item in self.ids.items.ids_of(now).to_pylist()]

    def shares(self, user: bytes, history: Sequence[bytes], item: bytes) -> Attribution | None:
        """What the item's score is the sum of; the shares are those of `history`, oldest first."""
        import tensorflow as tf

        row = self._item_rows([item])
        attribution = self.model.shares(
            tf.constant(self.key_row(user)), tf.constant(self.history_rows(history)), tf.constant(row)
        )
        if attribution is None:
            return None
        recent = attribution.events[len(attribution.events) - len(history) :]
        return dataclasses.replace(attribution, events=recent)

    def vectors(self) -> np.ndarray | None:
        """float32 [items, d], of what the model has trained of items; None where it has no table of vectors."""
        if self.model.feature_tables:  # what a row has learned is only a part of its item's vector
            vectors_of: Any = getattr(self.model, "item_vectors", None)
            rows = np.arange(self.model.sizes.first_row, self.model.sizes.items)
            return None if vectors_of is None else vectors_of(rows).numpy()
        for path, kind in self.model.tables.items():
            table: object = self.model
            for name in path.split("/"):
                table = getattr(table, name, None)
            values = getattr(table, "embeddings", None)
            if kind == "items" and values is not None and values.shape[1] > 1:
                return values.numpy()[self.model.sizes.first_row :]
        return None

    def key_row(self, user: bytes) -> np.ndarray:
        """int64 [1]."""
        sizes = self.model.sizes
        return _rows(self.ids.keys, [user], sizes.keys, sizes.numbering.keys)

    def history_rows(self, history: Sequence[bytes]) -> np.ndarray:
        """int64 [1, history_length], 0 in front."""
        rows = np.zeros((1, self.model.history_length), np.int64)
        recent = list(history)[-self.model.history_length :]
        if recent:
            rows[0, -len(recent) :] = self._item_rows(recent)
        return rows

    def _item_rows(self, items: Sequence[bytes]) -> np.ndarray:
        sizes = self.model.sizes
        return _rows(self.ids.items, items, sizes.items, sizes.numbering.items)


def _rows(vocabulary: Vocabulary, ids: Sequence[bytes], size: int, of_model: RowNumbers) -> np.ndarray:
    """int64 [n]. What came into the vocabulary after the model was trained is unknown to it, as it is to its bundle."""
    known = vocabulary.lookup(list(ids)) if len(ids) else np.zeros(0, np.int64)
    rows = vocabulary.row_numbers.moved(known, of_model)
    late = np.flatnonzero((rows >= size) | ((rows < vocabulary.first_row) & (known >= vocabulary.first_row)))
    if len(late):
        rows[late] = 1 + hash_buckets([ids[place] for place in late], vocabulary.oov_rows)
    return rows


def load_trained_model(config: Config, uri: str, ids: Ids) -> TrainedModel:
    """The model whose artifact lies at `uri`.

    Raises:
      StateError, ModelError: it is not there, or of another model than the settings have.
    """
    spec = GraphParameters.of(config).trainer.model
    return TrainedModel(rebuild(spec, ModelState.load(Path(uri) / STATE_FOLDER)), ids)


def load_ids(config: Config, vocabulary: Path) -> Ids:
    """Reads a vocabulary artifact, and what the items file says of its items."""
    items, keys = Vocabulary.load(vocabulary, "items"), Vocabulary.load(vocabulary, "keys")
    names = items.ids.to_pylist()
    try:
        columns, available = item_columns(items.ids, GraphParameters.of(config).trainer)
    except ItemsFileError:
        columns, available = {}, None  # a title is worth having, and no reason to stop
    texts = columns.get("titles", [])
    titles = {item_id: text for item_id, text in zip(names, texts, strict=False) if text}
    return Ids(items, keys, titles, np.ones(len(names), bool) if available is None else available)


def read_history(folder: Path, user: bytes) -> tuple[list[bytes], list[int]]:
    """A key's last events, oldest first: item ids, and times in milliseconds since 1970. Empty for one without any."""
    import pyarrow.parquet as pq

    for shard in shards_in(folder):
        table = pq.read_table(shard, columns=["items", "timestamps"], filters=[("key", "==", user)])
        if len(table):
            return table["items"][0].as_py(), table["timestamps"][0].as_py()
    return [], []


def newest_folder(config: Config, kind: str) -> Path | None:
    """The folder of the newest artifact of a type whose files are there: that of the last span, of its last run."""
    reader = LedgerReader(connect(config), config.name)
    artifacts = [artifact for artifact in reader.artifacts(reader.whole()) if artifact.type == kind and artifact.live]
    uris = {artifact.span: artifact.uri for artifact in artifacts if artifact.span is not None}
    return Path(uris[max(uris)]) if uris else None
