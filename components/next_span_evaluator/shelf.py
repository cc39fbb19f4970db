"""What content alone finds: items that nobody has met yet, ranked among their like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer.features.declaration import ITEM, WITHDRAWN
from trainer.input_pipeline import Positions
from trainer.keras2 import tf
from trainer.metrics import UNAVAILABLE
from trainer.vocabulary import Vocabulary

POSITIONS = 500  # that are asked for, evenly spread over more
_ITEMS = 16_384  # that are scored at once
_BATCH = 32


def shelf_of(
    rank: Callable[..., Mapping[str, Any]],
    parts: tuple[Positions, ...],
    catalogue: pa.Table,
    items: Vocabulary,
    keys: Vocabulary,
    before: np.ndarray,
    length: int,
    k: int,
) -> dict[str, float]:
    """`shelf` of `Surroundings`: the champion's recall on events of items that had none before the span.

    Ties count against the item. An item that came into the catalogue after the champion was trained is not on its
    shelf.

    Args:
      rank: the bundle's signature of that name.
      parts: the span's positions; rows of `items` and `keys`.
      catalogue: of the span.
      items, keys: the span's vocabularies.
      before: see `counts_before`, of items.
      length: of a history.
      k: of a list.
    """
    sold = catalogue[ITEM].filter(pc.invert(catalogue[WITHDRAWN]))
    rows = items.rows_of(sold, 0)
    shelf = np.unique(rows[(rows >= items.first_row) & (before[rows] == 0)])
    asked = _asked(parts, before, items.first_row)
    hits, events, size = 0, 0, len(shelf)
    for positions in asked:
        for batch in positions.dataset(_BATCH, length) if len(positions) and len(shelf) else ():
            scores = _scores(rank, batch, shelf, items, keys)
            shown = scores > UNAVAILABLE
            size = int(shown[0].sum())
            place = np.searchsorted(shelf, target := batch["item"].numpy())
            place = np.minimum(place, len(shelf) - 1)
            own = scores[np.arange(len(place)), place]
            there = (shelf[place] == target) & (own > UNAVAILABLE)
            ranks = (scores >= own[:, None]).sum(axis=1) - 1
            hits += int((ranks[there] < k).sum())
            events += int(there.sum())
    if not size:
        return {}
    recall = {"recall": hits / events} if events else {}
    return {**recall, "events": float(events), "size": float(size), "chance": min(1.0, k / size)}


def _asked(parts: tuple[Positions, ...], before: np.ndarray, first_row: int) -> list[Positions]:
    """Of each part the events of items without any before, of many a sample."""
    new = [np.flatnonzero((part.target >= first_row) & (before[part.target] == 0)) for part in parts]
    many = max(1.0, sum(map(len, new)) / POSITIONS)
    chosen = [of[np.unique(np.linspace(0, len(of) - 1, int(len(of) / many)).astype(np.int64))] for of in new]
    return [part.take(of) for part, of in zip(parts, chosen, strict=True)]


def _scores(
    rank: Callable[..., Mapping[str, Any]],
    batch: Mapping[str, tf.Tensor],
    shelf: np.ndarray,
    items: Vocabulary,
    keys: Vocabulary,
) -> np.ndarray:
    """float32 [b, shelf]."""
    history = ids_of(items, batch["history"].numpy())
    user = ids_of(keys, batch["key"].numpy())
    names = ids_of(items, shelf)
    columns = []
    for at in range(0, len(names), _ITEMS):
        candidates = np.tile(names[at : at + _ITEMS], (len(user), 1))
        inputs = {"user_id": user, "history": history, "candidates": candidates}
        answer = rank(**{name: tf.constant(value, tf.string) for name, value in inputs.items()})
        columns.append(answer["scores"].numpy())
    return np.concatenate(columns, axis=1)


def ids_of(vocabulary: Vocabulary, rows: np.ndarray) -> np.ndarray:
    """The ids of rows of any shape, objects; an empty one for a row that has none."""
    ids = vocabulary.ids_of(np.minimum(rows.ravel(), vocabulary.size - 1)).to_pylist()
    return np.array([id_ or b"" for id_ in ids], object).reshape(rows.shape)
