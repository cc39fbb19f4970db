"""Why an item is scored as it is, by asking: with the history, and with parts of it left out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np

from serving.bundle.protocols import UNAVAILABLE
from serving.bundle.saved_model import SavedModel

_ITEMS = 16_384  # that are asked for at once


class ScoreFn(Protocol):
    """Something that scores items."""

    def __call__(self, user: bytes, histories: Sequence[Sequence[bytes]], items: Sequence[bytes]) -> np.ndarray:
        """Scores of c items for one user with each of b histories, oldest first: float [b, c].

        -1e30 for an item that is unknown or not available.
        """
        ...


def score_fn_of(model: SavedModel) -> ScoreFn:
    """The served bundle's own scores, by its signature `rank`."""

    def ask(user: bytes, histories: Sequence[Sequence[bytes]], items: Sequence[bytes]) -> np.ndarray:
        parts = [np.zeros((len(histories), 0), np.float32)]
        for at in range(0, len(items), _ITEMS):
            part = list(items[at : at + _ITEMS])
            inputs = {
                "user_id": np.array([user] * len(histories), object),
                "history": _padded(histories),
                "candidates": np.array([part] * len(histories), object),
            }
            parts.append(model.run("rank", inputs)["scores"])
        return np.concatenate(parts, axis=1)

    return ask


def scores_without(
    ask: ScoreFn, user: bytes, history: Sequence[bytes], item: bytes, taken_out: Sequence[Collection[int]]
) -> np.ndarray:
    """The item's score with some events left out of the history.

    Args:
      ask: the model.
      user: its id.
      history: item ids, oldest first; no more than the model looks at, or those before it would move up.
      item: its id.
      taken_out: for each score the places of the history that are left out; an empty one for the score as it is.

    Returns:
      float64 [n].
    """
    if not len(taken_out):
        return np.zeros(0)
    histories = [[item for place, item in enumerate(history) if place not in out] for out in taken_out]
    return ask(user, histories, [item])[:, 0].astype(np.float64)


def place_of(at: int, scores: np.ndarray) -> tuple[int, int]:
    """Where the score at `at` stands among all, from 1, and how many of those are of items that can be recommended."""
    return int((scores > scores[at]).sum()) + 1, int((scores > UNAVAILABLE).sum())


def item_vectors(model: SavedModel, items: Sequence[bytes]) -> np.ndarray | None:
    """float32 [n, d] vectors of items, by the signature `embed`; None for a bundle without it.

    The last number of a served vector meets popularity; it is left out, since that says nothing of likeness.
    """
    if "embed" not in model.signatures:
        return None
    parts = []
    for at in range(0, len(items), _ITEMS):
        inputs = {
            "user_id": np.array([b""], object),
            "history": _padded([[]]),
            "items": np.array([list(items[at : at + _ITEMS])], object),
        }
        parts.append(model.run("embed", inputs)["item_vectors"][0][:, :-1])
    return np.concatenate(parts) if parts else None


def nearest(vectors: np.ndarray, at: int, count: int) -> list[tuple[int, float]]:
    """The `count` rows of float [n, d] that are most like row `at`, with their cosine, the likest first.

    Rows of zeros, which nothing has been learned of, are like nothing.
    """
    length = np.linalg.norm(vectors, axis=1)
    if not length[at]:
        return []
    cosine = vectors @ vectors[at] / np.maximum(length * length[at], np.finfo(np.float32).tiny)
    cosine[(length == 0) | (np.arange(len(vectors)) == at)] = -np.inf
    best = np.argsort(-cosine, kind="stable")[:count]
    return [(int(row), float(cosine[row])) for row in best if np.isfinite(cosine[row])]


def _padded(rows: Sequence[Sequence[bytes]]) -> np.ndarray:
    """Objects [b, h], at least one column, '' behind."""
    widest = max((len(row) for row in rows), default=0) or 1
    return np.array([[*row, *[b""] * (widest - len(row))] for row in rows], object)
