"""Carries weights and optimizer slots, by id, from yesterday's tables into today's larger ones.

Row numbers never change (`vocabulary.py`), so to carry an id is to copy a prefix; what is left to decide is where a
new row starts.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy.sparse

from trainer.input import Sequences
from trainer.models.base import Recommender, TableSizes, VocabularyName
from trainer.state import ModelState, StateError, Trainable

NewRows = Literal["cooccurrence", "mean", "random"]


def warm_start(trainable: Trainable, base: ModelState, sizes: TableSizes, new_rows: NewRows, span: Sequences) -> None:
    """Writes `base` into a freshly built model and optimizer whose tables may have more rows.

    Every old row and slot is copied bit for bit. A new row starts from the mean of the rows that it occurs with in
    `span` (`cooccurrence`: two steps along the graph of keys and items), where it has none from the mean of the table
    (`mean`), or as the layer initialises it (`random`). Slots of new rows start as the optimizer initialises them.

    Raises:
      StateError: the model has other variables, or smaller tables, than `base`.
    """
    weights, slots = trainable.read()
    _check_same_variables(weights, base)
    neighbours = _Neighbours(span, base.sizes, sizes)
    model = trainable.model
    for path, fresh in weights.items():
        old = base.weights[path]
        table = table_of(model, path)
        if table is None:
            weights[path] = old
        elif new_rows == "random":
            fresh[: len(old)] = old
        else:
            fresh[: len(old)] = old
            fresh[len(old) :] = old[sizes.first_row :].mean(axis=0) if len(old) > sizes.first_row else 0
            if new_rows == "cooccurrence":
                rows, means = neighbours.means(table, old)
                fresh[rows] = means
    for path, fresh_slots in slots.items():
        for name, fresh in fresh_slots.items():
            old = base.slots[path][name]
            if table_of(model, path) is None:
                fresh_slots[name] = old
            else:
                fresh[: len(old)] = old
    trainable.write(weights, slots)
    trainable.optimizer.iterations.assign(base.iterations)


def table_of(model: Recommender, path: str) -> VocabularyName | None:
    """The vocabulary whose rows the variable at `path` holds, if any."""
    return next((name for table, name in model.tables.items() if path == table or path.startswith(table + "/")), None)


def _check_same_variables(weights: dict[str, np.ndarray], base: ModelState) -> None:
    if set(weights) != set(base.weights):
        raise StateError(
            f"A warm start needs the base model's variables. Received: {sorted(set(weights) - set(base.weights))} new, "
            f"{sorted(set(base.weights) - set(weights))} gone. The model's settings changed: do a full retrain."
        )
    for path, fresh in weights.items():
        old = base.weights[path]
        if fresh.shape[1:] != old.shape[1:] or (fresh.ndim and len(fresh) < len(old)):
            raise StateError(
                f"A warm start can add rows only. Received: {path} of shape {old.shape} for a model of {fresh.shape}. "
                "The model's settings changed: do a full retrain."
            )


class _Neighbours:
    """Means over the keys and items that new rows occur with in a span."""

    def __init__(self, span: Sequences, old: TableSizes, new: TableSizes) -> None:
        owner = np.repeat(span.key, np.diff(span.splits))
        ones = np.ones(len(owner), np.float32)
        self._old = {"items": old.items, "keys": old.keys}
        # Rows of the one vocabulary by rows of the other; repeated events weigh more.
        by_item = scipy.sparse.coo_matrix((ones, (span.items, owner)), shape=(new.items, new.keys)).tocsr()
        self._incidence = {"items": by_item, "keys": by_item.T.tocsr()}
        self._first_row = new.first_row

    def means(self, table: VocabularyName, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """New rows that have neighbours, and the mean of `rows` [old, …] over each one's neighbours."""
        incidence = self._incidence[table]
        old = self._old[table]
        other = incidence[self._first_row : old]
        flat = rows[self._first_row :].reshape(other.shape[0], -1)
        degree = np.asarray(other.sum(axis=0)).ravel()
        reached = np.flatnonzero(degree)
        between = (other.T @ flat)[reached] / degree[reached, None]
        to_new = incidence[old:][:, reached]
        total = np.asarray(to_new.sum(axis=1)).ravel()
        found = np.flatnonzero(total)
        means = (to_new[found] @ between) / total[found, None]
        return found + old, means.reshape(len(found), *rows.shape[1:]).astype(rows.dtype)
