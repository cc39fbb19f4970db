"""What the trained model answers, kept beside its export so that the export can be held against it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from serving.atomic_write import write_file
from serving.bundle.kept_places import KeptPlaces
from serving.bundle.protocols import UNAVAILABLE, Catalogue

_CELLS = 1 << 25  # scores that are computed at once


@dataclasses.dataclass(frozen=True)
class Reference:
    """Held-out positions and the trained model's best items there.

    Attributes:
      users: [p] ids; histories: [p] lists of ids, oldest first.
      items: [p] lists of the best ids, best first, twice as many as `k` so that what lies just behind is known too.
      scores: the same of their scores.
      examples: [p] the positions as serialised tf.Examples, for the `evaluate` signature.
      k: how many of the items the export must find.
    """

    users: Sequence[bytes]
    histories: Sequence[Sequence[bytes]]
    items: Sequence[Sequence[bytes]]
    scores: Sequence[Sequence[float]]
    examples: Sequence[bytes]
    k: int

    def __len__(self) -> int:
        return len(self.users)

    def save(self, path: str | Path) -> None:
        """Writes one JSON file, whole or not at all; ids are kept byte for byte."""
        raw = {
            "k": self.k,
            "users": _text(self.users),
            "histories": [_text(history) for history in self.histories],
            "items": [_text(item) for item in self.items],
            "scores": [list(map(float, score)) for score in self.scores],
            "examples": _text(self.examples),
        }
        write_file(path, json.dumps(raw))

    @classmethod
    def load(cls, path: str | Path) -> Reference:
        """Reads what `save` has written.

        Raises:
          ValueError, KeyError, OSError: it has not.
        """
        raw = json.loads(Path(path).read_text())
        return cls(
            users=_ids(raw["users"]),
            histories=[_ids(history) for history in raw["histories"]],
            items=[_ids(list_of_items) for list_of_items in raw["items"]],
            scores=raw["scores"],
            examples=_ids(raw["examples"]),
            k=raw["k"],
        )

    def request(self, position: int) -> dict[str, np.ndarray]:
        """Inputs of `serving_default` for one position; [1] and [1, h], never without a column."""
        history = np.array([list(self.histories[position]) or [b""]], object)
        return {"user_id": np.array([self.users[position]], object), "history": history}

    def recall(self, answers: Sequence[Sequence[bytes]]) -> float:
        """The mean share of the best `k` among the first `k` of what was answered at each position; 1 without any."""
        shares = []
        for reference_items, got in zip(self.items, answers, strict=True):
            if best := set(reference_items[: self.k]):
                shares.append(len(best & set(got[: self.k])) / len(best))
        return float(np.mean(shares)) if shares else 1.0

    def differs(self, position: int, answer: Sequence[bytes], scores: Sequence[float]) -> str:
        """In words, where an exact export's answer is another than the model's; '' where it is the same.

        Items whose scores are equal but for rounding may change places.
        """
        known = dict(zip(self.items[position], self.scores[position], strict=True))
        reference_scores = list(self.scores[position])[: self.k]
        got = [answered for answered in answer if answered][: self.k]
        if len(got) != len(reference_scores):
            return f"{len(got)} items instead of {len(reference_scores)}"
        spread = max((abs(score) for score in reference_scores), default=0.0)
        for place, (item, score, right) in enumerate(zip(got, scores, reference_scores, strict=False)):
            model_score = known.get(item)
            if model_score is None or not np.allclose(
                [model_score, score], right, rtol=1e-3, atol=1e-4 * max(spread, 1.0)
            ):
                scored = "none of its best" if model_score is None else f"scored {model_score:.6g}"
                return f"at place {place + 1} {item!r}, which the model {scored}, with {score:.6g} for {right:.6g}"
        return ""


def make_reference(
    score_all: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    key: np.ndarray,
    history: np.ndarray,
    examples: Sequence[bytes],
    catalogue: Catalogue,
    k: int,
    exclude_seen: bool,
    kept: KeptPlaces | None = None,
) -> Reference:
    """Asks the trained model itself, and finds the best with NumPy.

    Args:
      score_all: float32 [b, items] scores of int64 [b] keys and [b, h] histories.
      key: int64 [p]; history: int64 [p, h], 0 in front.
      examples: the positions, serialised.
      catalogue: the ids behind the rows.
      k: how many items the export must find.
      exclude_seen: whether the history's items are left out.
      kept: places for new items; None for none.
    """
    new = np.zeros(catalogue.size, bool)
    if kept is not None:
        new[catalogue.first_row :] = kept.new
    item_ids, key_ids = _names(catalogue.items, catalogue.first_row), _names(catalogue.keys, catalogue.first_row)
    shown, step = catalogue.shown, max(1, _CELLS // max(1, catalogue.size))
    items, serialized = [], []
    for at in range(0, len(key), step):
        part = slice(at, at + step)
        for scores, seen in zip(score_all(key[part], history[part]).numpy(), history[part], strict=True):
            scores = np.where(shown, scores, UNAVAILABLE)
            if exclude_seen:
                scores[seen] = UNAVAILABLE
            best = _best(scores, 2 * k) if kept is None else kept.order(scores, new)[: 2 * k]
            best = best[scores[best] > UNAVAILABLE]
            items.append([item_ids(row) for row in best])
            serialized.append(scores[best].tolist())
    histories = [[item_ids(row) for row in keys_history if row] for keys_history in history]
    return Reference([key_ids(row) for row in key], histories, items, serialized, list(examples), k)


def _best(scores: np.ndarray, count: int) -> np.ndarray:
    """Places of the `count` highest scores, best first; among equals the first comes first."""
    lowest = np.partition(-scores, count - 1)[count - 1] if count < len(scores) else np.nan
    # Without that many numbers there is none to hold the others against.
    rows = np.arange(len(scores)) if np.isnan(lowest) else np.flatnonzero(-scores <= lowest)
    return rows[np.argsort(-scores[rows], kind="stable")][:count]


def _names(ids: Sequence[bytes], first_row: int) -> Callable[[int], bytes]:
    """Row to id; for a row of unknown ids one that is unknown and falls there."""
    known, strangers = set(ids), {0: b""}
    number = 0
    while len(strangers) < first_row:
        stranger = b"unknown %d" % number
        row = int(tf.strings.to_hash_bucket_fast([stranger], first_row - 1).numpy()[0]) + 1
        if stranger not in known:
            strangers.setdefault(row, stranger)
        number += 1
    return lambda row: strangers[int(row)] if row < first_row else ids[int(row) - first_row]


def _text(values: Sequence[bytes]) -> list[str]:
    return [value.decode("latin-1") for value in values]


def _ids(values: Sequence[str]) -> list[bytes]:
    return [value.encode("latin-1") for value in values]
