"""A state over the rows of today's vocabularies: where ids have left, the rows of the others have moved."""

from __future__ import annotations

import dataclasses

import numpy as np

from trainer.models.base import Recommender, TableSizes, table_of
from trainer.row_numbers import Numbering, RowNumbers
from trainer.train_state import Arrays, ModelState, StateError


def renumbered(base: ModelState, today: Numbering, model: Recommender) -> ModelState:
    """`base` without the rows of ids that have left since, as if they had never been; itself where none has.

    What is left are the first rows of today's tables, in their order: as after any other day there is nothing to do
    but to append. Optimizer slots go with their rows.

    Args:
      base: the state of an earlier day.
      today: the numbers of today's rows.
      model: says which variables are tables.

    Raises:
      StateError: `base` is of another root.
    """
    sizes = base.sizes
    kept = {
        "items": _kept(sizes.numbering.items.every(sizes.items), today.items, sizes.first_row),
        "keys": _kept(sizes.numbering.keys.every(sizes.keys), today.keys, sizes.first_row),
    }
    if len(kept["items"]) == sizes.items and len(kept["keys"]) == sizes.keys:
        return dataclasses.replace(base, sizes=dataclasses.replace(sizes, numbering=today))
    weights = dict(base.weights)
    for rows, strengths in model.neighbours.items():
        if rows in weights:
            weights |= _without_gone(rows, strengths, weights, kept["items"], sizes.items)

    def of_kept(path: str, value: np.ndarray) -> np.ndarray:
        rows = kept.get(table_of(model, path) or "")
        return value if rows is None else value[rows]

    return dataclasses.replace(
        base,
        weights={path: of_kept(path, value) for path, value in weights.items()},
        slots={
            path: {name: of_kept(path, value) for name, value in slots.items()} for path, slots in base.slots.items()
        },
        fisher={path: of_kept(path, value) for path, value in base.fisher.items()},
        sizes=TableSizes(len(kept["items"]), len(kept["keys"]), sizes.first_row, sizes.words, today),
    )


def _kept(numbers: np.ndarray, today: RowNumbers, first_row: int) -> np.ndarray:
    """The rows that stay, those that no id has included."""
    rows = today.rows_of(numbers)
    stays = rows >= first_row
    stays[:first_row] = True
    if (rows[stays] != np.arange(np.count_nonzero(stays))).any():
        raise StateError(
            "A model must be of an earlier day of the same root as the vocabulary. Received: rows of ids that came in "
            "another order. Do a full retrain."
        )
    return np.flatnonzero(stays)


def _without_gone(rows: str, strengths: str, weights: Arrays, kept: np.ndarray, size: int) -> Arrays:
    """Neighbours by their rows of today; one that is gone has no strength, and its place is free."""
    new_row = np.zeros(size, weights[rows].dtype)
    new_row[kept] = np.arange(len(kept))
    here = np.zeros(size, bool)
    here[kept] = True
    stays = here[weights[rows]]
    return {
        rows: np.where(stays, new_row[weights[rows]], 0),
        strengths: np.where(stays, weights[strengths], 0).astype(weights[strengths].dtype),
    }
