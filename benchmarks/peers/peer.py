"""What a system has to do to be measured, and what passes between its process and the benchmark's. NumPy alone."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Sessions:
    """Sessions one after the other, oldest first.

    Attributes:
      items: int64 [n], above 0.
      splits: int64 [s + 1], session i is `items[splits[i]:splits[i + 1]]`.
    """

    items: np.ndarray
    splits: np.ndarray

    def __len__(self) -> int:
        return len(self.splits) - 1

    @property
    def owner(self) -> np.ndarray:
        """int64 [n], the number of each event's session."""
        return np.repeat(np.arange(len(self)), np.diff(self.splits))

    def padded(self, length: int) -> np.ndarray:
        """int64 [s, length], the last events of each session with zeros behind them."""
        size = np.diff(self.splits)
        kept = np.minimum(size, length)
        owner = np.repeat(np.arange(len(self)), kept)
        place = np.arange(kept.sum()) - np.repeat(np.cumsum(kept) - kept, kept)
        rows = np.zeros((len(self), length), np.int64)
        rows[owner, place] = self.items[np.repeat(self.splits[1:] - kept, kept) + place]
        return rows

    def prefixes(self) -> tuple[Sessions, np.ndarray]:
        """Every event but a session's first is asked for: what came before it, and int64 [p], the events."""
        size = np.diff(self.splits)
        length = np.concatenate([np.arange(1, of) for of in size.tolist()] or [np.empty(0, np.int64)]).astype(np.int64)
        begin = np.repeat(self.splits[:-1], np.maximum(size - 1, 0))
        splits = np.concatenate([[0], np.cumsum(length)])
        at = np.arange(length.sum()) - np.repeat(splits[:-1], length) + np.repeat(begin, length)
        return Sessions(self.items[at], splits), self.items[begin + length]

    def save(self, path: Path) -> None:
        np.savez(path, items=self.items, splits=self.splits)

    @classmethod
    def load(cls, path: Path) -> Sessions:
        with np.load(path) as file:
            return cls(file["items"], file["splits"])


def joined(parts: Sequence[Sessions]) -> Sessions:
    ends = np.cumsum([0, *(len(part.items) for part in parts)])
    splits = [part.splits[1:] + end for part, end in zip(parts, ends, strict=False)]
    return Sessions(np.concatenate([part.items for part in parts]), np.concatenate([[0], *splits]).astype(np.int64))


class Peer(abc.ABC):
    """A system that recommends the next item of a session.

    Args:
      seed: of all that is random.
      settings: what is not left at the system's documented default.
    """

    def __init__(self, seed: int, **settings: Any) -> None:
        self.seed, self.settings = seed, settings

    @abc.abstractmethod
    def learn(self, new: Sequence[Sessions]) -> None:
        """Told of the spans that came since the last time, the oldest first."""

    @abc.abstractmethod
    def recommend(self, asked: Sessions, k: int) -> np.ndarray:
        """int64 [s, k], the best items to follow each session of `asked`, the best one first; 0 where there is none."""
