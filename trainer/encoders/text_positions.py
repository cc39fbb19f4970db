"""Positions of training sequences as texts: those of a key's last items, and that of the item that came."""

from __future__ import annotations

import dataclasses

import numpy as np

from trainer.input_pipeline import Positions

NONE = -1


@dataclasses.dataclass(frozen=True)
class ItemTexts:
    """The texts of a vocabulary's items.

    Attributes:
      texts: Each text once.
      codes: int64 [items], which text the item of a row has; `NONE` where it has none.
    """

    texts: tuple[str, ...]
    codes: np.ndarray


@dataclasses.dataclass(frozen=True)
class TextPositions:
    """Which text comes after which.

    Attributes:
      texts: Each text once.
      history: int64 [p, h], codes of the texts before, `NONE` where there is none; at least one a position.
      target: int64 [p], code of the text that came; it is not among those before.
    """

    texts: tuple[str, ...]
    history: np.ndarray
    target: np.ndarray

    def __len__(self) -> int:
        return len(self.target)

    def take(self, index: np.ndarray) -> TextPositions:
        """The positions at `index`, over the same texts."""
        return dataclasses.replace(self, history=self.history[index], target=self.target[index])


def text_positions(positions: Positions, items: ItemTexts, length: int) -> TextPositions:
    """The positions whose item has a text, and was preceded by items with texts of which none is the same.

    Where the same text comes again there is nothing that a text can be told by: it is as near to itself as can be.

    Args:
      positions: p positions, in rows of the vocabulary.
      items: The texts of those rows.
      length: Most items before.
    """
    rows = np.append(positions.items, 0)  # never empty, so that there is something to look at
    at = positions.end[:, None] + np.arange(-length, 0)
    there = at >= positions.begin[:, None]
    history = np.where(there, items.codes[rows[np.maximum(at, 0)]], NONE)
    target = items.codes[positions.target]
    useful = (target != NONE) & (history != NONE).any(axis=1) & (history != target[:, None]).all(axis=1)
    return TextPositions(items.texts, history[useful], target[useful])


def sampled(positions: TextPositions, most: int, seed: int) -> TextPositions:
    """At most so many of the positions, in their order, the same ones for the same seed."""
    if len(positions) <= most:
        return positions
    drawn = np.random.default_rng(seed).choice(len(positions), most, replace=False)
    return positions.take(np.sort(drawn))
