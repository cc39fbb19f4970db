"""Exported recommenders whose every score NumPy can compute, and NumPy's own answers."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serving.bundle import write_bundle
from serving.bundle.index_settings import IndexSettings
from serving.bundle.protocols import UNAVAILABLE, Catalogue
from serving.bundle.saved_model import SavedModel
from serving.bundle.signatures import Signatures
from trainer.checks.small_data import random_sequences
from trainer.keras2 import tf
from trainer.models import build_model
from trainer.models.base import Recommender, TableSizes
from trainer.models.sequence_model import SequenceModel
from trainer.models.two_tower import TwoTower
from trainer.vocabulary import Vocabulary

HISTORY = 5
OOV_ROWS = 2
FIRST = 1 + OOV_ROWS


@dataclasses.dataclass(frozen=True)
class Shop:
    """A model with random weights, its ids, and which items are sold."""

    model: Recommender
    items: Vocabulary
    keys: Vocabulary
    available: np.ndarray

    @functools.cached_property
    def ids(self) -> list[bytes]:
        return self.items.ids.to_pylist()

    @functools.cached_property
    def catalogue(self) -> Catalogue:
        ids = self.ids
        columns = {"titles": [f"Title {id_!r}" for id_ in ids], "year": [str(1900 + at) for at in range(len(ids))]}
        return Catalogue(ids, self.keys.ids.to_pylist(), columns, FIRST, self.available)

    @functools.cached_property
    def _score_all(self) -> Callable[..., Any]:
        return tf.function(self.model.score_all, autograph=False, reduce_retracing=True)

    def scores(self, users: Sequence[bytes], histories: Sequence[Sequence[bytes]]) -> np.ndarray:
        """Of every row for each user: by NumPy alone for a two-tower, else by the model as it was trained."""
        keys = np.array([self.keys.lookup([user])[0] if user else 0 for user in users])
        rows = [self.items.lookup([item for item in history if item])[-HISTORY:] for history in histories]
        if isinstance(self.model, TwoTower):
            return np.array([_two_tower(self.model, key, of) for key, of in zip(keys, rows, strict=True)])
        padded = np.array([np.concatenate([np.zeros(HISTORY - len(of), np.int64), of]) for of in rows])
        return self._score_all(tf.constant(keys), tf.constant(padded)).numpy()

    def best(
        self,
        scores: np.ndarray,
        history: Sequence[bytes],
        exclude: Sequence[bytes] = (),
        candidates: Sequence[bytes] = (),
    ) -> list[tuple[float, bytes]]:
        """By brute force: every item that may be answered with its score, best first."""
        gone, asked = {*history, *exclude}, {candidate for candidate in candidates if candidate}
        ranked = [
            (score, item)
            for at, (score, item) in enumerate(zip(scores[FIRST:].tolist(), self.ids, strict=True))
            if self.available[at] and item not in gone and (not asked or item in asked)
        ]
        return sorted(ranked, key=lambda pair: -pair[0])


def _two_tower(model: TwoTower, key: int, rows: np.ndarray) -> np.ndarray:
    items, bias = model.item_embedding.embeddings.numpy(), model.pooling.distance_bias.numpy()
    wanted = np.zeros(items.shape[1]) if model.key_embedding is None else model.key_embedding.embeddings.numpy()[key]
    if len(rows):
        share = np.exp(bias[-len(rows) :])
        wanted = wanted + model.history_scale.numpy() * np.log1p(len(rows)) * (share / share.sum()) @ items[rows]
    counts, average = model.popularity.counts.numpy(), model.popularity.average.numpy()
    return items @ wanted + model.slope.numpy() * np.log((counts + 0.1) / (average + 0.1))


def make_shop(items: int, keys: int, type_: str = "two_tower", seed: int = 1, **params: Any) -> Shop:
    """Every tenth item is withdrawn. The same arguments give the same shop."""
    random = np.random.default_rng(seed)
    item_ids = Vocabulary.empty(OOV_ROWS).grow([b"item %d" % n for n in range(items)], 1, 1, 7.0)
    key_ids = Vocabulary.empty(OOV_ROWS).grow([b"user %d" % n for n in range(keys)], 1, 1, 7.0)
    model = build_model(type_, TableSizes(item_ids.size, key_ids.size, FIRST), HISTORY, params)
    for variable in model.trainable_variables:
        variable.assign(random.normal(0, 0.5, variable.shape))
    model.set_popularity(np.concatenate([np.zeros(FIRST), random.gamma(1.0, 3.0, items)]))
    if isinstance(model, SequenceModel):
        model.observe(random_sequences(model.sizes, 500, seed))
        weights = model.mixture.weights_
        weights.assign(random.uniform(0.2, 0.8, weights.shape))
    return Shop(model, item_ids, key_ids, np.arange(items) % 10 != 9)


def export(shop: Shop, folder: Path, max_k: int, index: IndexSettings | None = None, exclude_seen: bool = True) -> Path:
    """Freezes the shop's model and writes its bundle."""
    shop.model.freeze()
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_bundle(Signatures(shop.model, shop.catalogue, 5, max_k, exclude_seen, index, "shop"), folder, {})
    return folder


def loaded(folder: Path) -> Callable[..., dict[str, np.ndarray]]:
    """Asks a signature of the bundle as a server would; lists of texts become rectangles padded with ''."""
    model = SavedModel("shop", 1, folder)

    def ask(signature: str, **inputs: Any) -> dict[str, np.ndarray]:
        return model.run(signature, {name: _tensor(value) for name, value in inputs.items()})

    return ask


def _tensor(value: Any) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value
    if value and isinstance(value[0], bytes):
        return np.array(value, object)
    widest = max((len(row) for row in value), default=0)
    return np.array([[*row, *[b""] * (widest - len(row))] for row in value], object).reshape(len(value), widest)


def answered(answer: Mapping[str, np.ndarray], row: int) -> list[tuple[float, bytes]]:
    """The items of one row without its padding."""
    pairs = zip(answer["scores"][row].tolist(), answer["item_ids"][row].tolist(), strict=True)
    return [(score, pair) for score, pair in pairs if score > UNAVAILABLE]
