"""Changes windows of training sequences a little, another way in each epoch, so that none is learned by heart."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse

from trainer.input_pipeline import Sequences
from trainer.settings import Augmentation

_SIMILAR = 10  # items that stand in for an item


class Steps(NamedTuple):
    """Windows as a batch: [b, l], 0 behind a window's end; `item` and `weight` are 0 where a step does not count."""

    history: np.ndarray
    item: np.ndarray
    weight: np.ndarray


class SequenceAugmentation:
    """Crops, masks and reorders windows, and puts similar items into them.

    The first three are those of Xie et al. ("Contrastive learning for sequential recommendation", ICDE 2022), the last
    that of Liu et al. ("Contrastive self-supervised sequential recommendation with robust augmentation", CoSeRec,
    2021), here on what is learned rather than for a contrastive loss.

    In each epoch a window is changed with probability `share`, by one operation, drawn evenly from those that are set.
    What a step is to predict always stays the event that truly came next. What becomes of the loss:

    * crop: a stretch of round((1 - crop) * n) of the n inputs is kept, one in which an event counts. What lies outside
      is neither context nor learned in that epoch.
    * mask: each input becomes the out-of-vocabulary row with that probability, as which an unknown item of a request
      comes. The loss is taken where it was.
    * reorder: a stretch of round(reorder * n) inputs is shuffled. Within it an input may be what an earlier step is to
      predict, so that of its steps the last alone keeps its loss, which has seen all of them.
    * substitute: each input becomes, with that probability, one of the ten items that it occurs with most often by the
      cosine of counts over the span's sequences; but not the item that its step is to predict. The loss is taken where
      it was.

    A window's last step keeps its loss under all of them, so that no window teaches nothing.

    Args:
      settings: how much.
      sequences: of the span, whose items have their similar ones from each other.
      items: rows of the item table.
      first_row: the row of the first id.
    """

    def __init__(self, settings: Augmentation, sequences: Sequences, items: int, first_row: int) -> None:
        self._settings, self._out_of_vocabulary = settings, first_row - 1
        self._operations = settings.operations
        self._similar = (
            similar_items(sequences, items, first_row) if settings.substitute else np.zeros((0, 0), np.int64)
        )

    def plan(self, windows: int, random: np.random.Generator) -> np.ndarray:
        """What is done to each window: the place of its operation in `settings.operations`, -1 for none, [windows]."""
        drawn = random.integers(0, len(self._operations), windows)
        return np.where(random.random(windows) < self._settings.share, drawn, -1)

    def crop(
        self, plan: np.ndarray, begin: np.ndarray, end: np.ndarray, first: np.ndarray, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`begin`, `end` and `first` of `Windows`, [w] each, with those windows cropped that are to be."""
        inputs = end - begin
        kept = np.maximum(1, np.round((1.0 - self._settings.crop) * inputs).astype(np.int64))
        kept = np.where(self._chosen(plan, "crop"), kept, inputs)
        # The first step that counts is `first - 1`: a stretch must reach it.
        lowest = np.maximum(0, first - begin - kept)
        start = begin + random.integers(lowest, inputs - kept, endpoint=True)
        return start, start + kept, np.maximum(first, start + 1)

    def change(self, plan: np.ndarray, steps: Steps, following: np.ndarray, random: np.random.Generator) -> Steps:
        """Masks, reorders and substitutes.

        Args:
          plan: int64 [b].
          steps: as they are.
          following: int64 [b, l], what truly came after each input.
          random: draws.
        """
        history, item, weight = steps
        present = history > 0
        if self._settings.mask:
            drawn = random.random(history.shape) < self._settings.mask
            chosen = self._chosen(plan, "mask")[:, None] & drawn & present
            history = np.where(chosen, self._out_of_vocabulary, history)
        if self._settings.substitute:
            drawn = random.random(history.shape) < self._settings.substitute
            row = np.minimum(history, len(self._similar) - 1)
            similar = self._similar[row, random.integers(0, self._similar.shape[1], history.shape)]
            chosen = (
                self._chosen(plan, "substitute")[:, None] & drawn & present & (similar > 0) & (similar != following)
            )
            history = np.where(chosen, similar, history)
        if self._settings.reorder:
            inputs = present.sum(axis=1)
            stretch = np.round(self._settings.reorder * inputs).astype(np.int64)
            stretch = np.where(self._chosen(plan, "reorder") & (stretch > 1), stretch, 0)
            start = random.integers(0, inputs - stretch, endpoint=True)[:, None]
            place, stop = np.arange(history.shape[1]), start + stretch[:, None]
            inside = (place >= start) & (place < stop)
            order = np.where(inside, start + random.random(history.shape) * stretch[:, None], place)
            history = np.take_along_axis(history, np.argsort(order, axis=1, kind="stable"), axis=1)
            lost = inside & (place < stop - 1)
            item, weight = np.where(lost, 0, item), np.where(lost, 0, weight).astype(np.float32)
        return Steps(history, item, weight)

    def _chosen(self, plan: np.ndarray, operation: str) -> np.ndarray:
        if operation not in self._operations:
            return np.zeros(len(plan), bool)
        return plan == self._operations.index(operation)


def similar_items(sequences: Sequences, items: int, first_row: int) -> np.ndarray:
    """The most similar items of each, int64 [items, 10], drawn from evenly: an item with fewer has them several times.

    The cosine of the vectors of which sequences hold an item (item-based collaborative filtering). An
    item that occurs beside no other has 0.
    """
    owner = np.repeat(np.arange(len(sequences)), np.diff(sequences.splits))
    admitted = (sequences.items >= first_row) & (sequences.items < items)
    ones = np.ones(int(admitted.sum()), np.float32)
    held = scipy.sparse.csr_array(
        (ones, (owner[admitted], sequences.items[admitted])), shape=(len(sequences), items), dtype=np.float32
    )
    held.data[:] = 1.0
    count = np.maximum(held.sum(axis=0), 1.0)
    together = (held.T @ held).tocoo()
    apart = together.row != together.col
    row, column = together.row[apart], together.col[apart]
    cosine = together.data[apart] / np.sqrt(count[row] * count[column])
    best = np.lexsort((column, -cosine, row))
    row, column = row[best], column[best]
    candidates = np.bincount(row, minlength=items)
    place = np.arange(len(row)) - np.repeat(np.cumsum(candidates) - candidates, candidates)
    similar = np.zeros((items, _SIMILAR), np.int64)
    similar[row[place < _SIMILAR], place[place < _SIMILAR]] = column[place < _SIMILAR]
    filled = np.minimum(candidates, _SIMILAR)
    again = np.arange(_SIMILAR) % np.maximum(filled, 1)[:, None]
    return np.take_along_axis(similar, again, axis=1)
