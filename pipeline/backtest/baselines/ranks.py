"""At which place an item stands by a baseline's scores, as `trainer.metrics` has it of a model's."""

from __future__ import annotations

import numpy as np

from pipeline.backtest.baselines.base import Scores, histories
from trainer.input_pipeline import Positions


def ranks(scores: Scores, asked: Positions, first_row: int, exclude_seen: bool) -> np.ndarray:
    """How many items stand at least as high as each position's own, without itself: int64 [b], 0 is the best.

    As of `trainer.metrics.rank_of` on scores that `mask_scores` has masked: ties count against the item, rows below
    `first_row` are none, an item without a row has the worst place. With `exclude_seen` the history's items are left
    out, but for the item that came.
    """
    own, rest = scores.own, scores.rest
    items = len(rest)
    known = (asked.target >= first_row) & (asked.target < items)
    target = np.where(known, asked.target, 0)
    row = np.repeat(np.arange(len(asked)), np.diff(own.indptr))
    column, value = own.indices.astype(np.int64), own.data
    of_target = column == target[row]
    score = np.zeros(len(asked))
    score[row[of_target]] = value[of_target]
    others = (column >= first_row) & ~of_target
    seen = _seen_cells(asked, target, items, first_row) if exclude_seen else np.zeros(0, np.int64)
    cell = row * items + column
    available = others & ~np.isin(cell, seen)
    better = (value > score[row]) | ((value == score[row]) & (rest[column] >= rest[target][row]))
    above = np.bincount(row[available & better], minlength=len(asked))
    # An item without a score of its own stands among the rest, below all that have one.
    ascending = np.sort(rest[first_row:])
    among = len(ascending) - np.searchsorted(ascending, rest[target], side="left") - 1
    elsewhere = np.union1d(cell[others], seen)
    row, column = elsewhere // items, elsewhere % items
    among -= np.bincount(row[rest[column] >= rest[target][row]], minlength=len(asked))
    return np.where(known, np.where(score > 0, above, above + among), items)


def _seen_cells(asked: Positions, target: np.ndarray, items: int, first_row: int) -> np.ndarray:
    """Position times `items` plus item row of what is left out, int64 [n], ascending."""
    position, _, item = histories(asked)
    out = (item >= first_row) & (item < items) & (item != target[position])
    return np.unique(position[out] * items + item[out])
