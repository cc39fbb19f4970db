"""Carries weights and optimizer slots, by id, from yesterday's tables into today's larger ones.

Row numbers never change (`vocabulary.py`), so to carry an id is to copy a prefix; what is left to decide is where a
new row starts.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse

from trainer.input_pipeline import Sequences
from trainer.models.base import Recommender, TableSizes, VocabularyName, table_of
from trainer.settings import NewRows
from trainer.train_state import Arrays, ModelState, StateError, Trainable


def warm_start(
    trainable: Trainable, base: ModelState, sizes: TableSizes, new_rows: NewRows, sequences: Sequences
) -> None:
    """Writes `base` into a freshly built model and optimizer whose tables may have more rows.

    Every old row and slot is copied bit for bit. A new row starts from the mean of the rows that it occurs with in
    `sequences` (`cooccurrence`), where it has none from the mean of the table (`mean`), or as the layer initialises it
    (`random`). Rows that are not trained, and slots of new rows, start as they are initialised.

    Raises:
      StateError: the model has other variables, or smaller tables, than `base`, or the optimizer other slots.
    """
    weights, slots = trainable.read()
    model = trainable.model
    _check_sizes(base.sizes, sizes)
    _check_same_variables(model, weights, base, sizes)
    _check_same_slots(slots, base.slots)
    neighbours = _Neighbours(sequences, base.sizes, sizes) if new_rows == "cooccurrence" else None
    for path, fresh in weights.items():
        old = base.weights[path]
        table = table_of(model, path)
        if table is None:
            weights[path] = old
            continue
        fresh[: len(old)] = old
        informed = new_rows != "random" and trainable.variables[path].trainable  # a mean of counts tells nothing
        if not informed or len(old) == sizes.first_row:  # without an old id there is no mean either
            continue
        fresh[len(old) :] = old[sizes.first_row :].mean(axis=0)
        if neighbours is not None:
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
    trainable.count_steps(base.iterations if base.counted is None else base.counted, base.iterations)


def _check_sizes(old: TableSizes, new: TableSizes) -> None:
    if old.first_row != new.first_row or old.items > new.items or old.keys > new.keys:
        raise StateError(
            "A warm start needs the vocabulary of the base model, or a longer one with the same out-of-vocabulary "
            f"rows. Received: {new} after {old}. Do a full retrain."
        )


def _check_same_variables(model: Recommender, fresh: Arrays, base: ModelState, sizes: TableSizes) -> None:
    if fresh.keys() != base.weights.keys():
        raise StateError(
            "A warm start needs the base model's variables. Received: "
            f"{sorted(fresh.keys() - base.weights.keys())} new, {sorted(base.weights.keys() - fresh.keys())} gone. "
            "The model's settings changed: do a full retrain."
        )
    for path, value in fresh.items():
        table = table_of(model, path)
        if table is not None and value.shape[:1] != (getattr(sizes, table),):
            raise StateError(
                f"A variable that a model names in `tables` must have a row for each of {table}, "
                f"{getattr(sizes, table)}. Received: {path} of shape {value.shape}. Build it with `sizes.{table}` rows."
            )
        expected_shape = value.shape if table is None else (getattr(base.sizes, table), *value.shape[1:])
        if base.weights[path].shape != expected_shape:
            raise StateError(
                f"A warm start can add rows only, and only to the variables named in `tables`. Received: {path} of "
                f"shape {base.weights[path].shape} for a model of {value.shape}. The model's settings changed: do "
                "a full retrain."
            )


def _check_same_slots(fresh: dict[str, Arrays], old: dict[str, Arrays]) -> None:
    wanted = {f"{path}: {slot}" for path, slots in fresh.items() for slot in slots}
    held = {f"{path}: {slot}" for path, slots in old.items() for slot in slots}
    if wanted != held:
        raise StateError(
            f"A warm start needs the optimizer slots of the base model. Received: {sorted(wanted - held)} new, "
            f"{sorted(held - wanted)} gone. `update.optimizer` or the model's settings changed: do a full retrain."
        )


class _Neighbours:
    """Means over the rows that new rows occur with: two steps along a graph, repeated events weighing more.

    A new item starts from the mean, over the sequences that hold it, of the mean of the items in each: sequences rather
    than key rows, because the keys without a row of their own all share one. A new key starts from the mean, over its
    items, of the mean of the keys that each occurs with.
    """

    def __init__(self, sequences: Sequences, old: TableSizes, new: TableSizes) -> None:
        count = len(sequences)
        owner = np.repeat(np.arange(count), np.diff(sequences.splits))
        ones = np.ones(len(owner), np.float32)
        # Rows of a vocabulary by what lies one step from them.
        by_item = scipy.sparse.coo_matrix((ones, (sequences.items, owner)), shape=(new.items, count)).tocsr()
        key_of = scipy.sparse.coo_matrix(
            (np.ones(count, np.float32), (sequences.key, np.arange(count))), shape=(new.keys, count)
        ).tocsr()
        by_key = (key_of @ by_item[new.first_row :].T).tocsr()
        self._incidence = {"items": by_item, "keys": by_key}
        self._old = {"items": old.items, "keys": old.keys}
        self._first_row = new.first_row

    def means(self, table: VocabularyName, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """New rows that have neighbours, and the mean of `rows` [old, …] over each one's neighbours."""
        incidence, old = self._incidence[table], self._old[table]
        before, new = incidence[self._first_row : old], incidence[old:]
        degree = np.asarray(before.sum(axis=0)).ravel()
        # Only what lies between a new row and an old one is multiplied out: the cost follows the span.
        between = np.flatnonzero((degree > 0) & (np.bincount(new.indices, minlength=new.shape[1]) > 0))
        new = new[:, between]
        total = np.asarray(new.sum(axis=1)).ravel()
        touched = np.flatnonzero(total)
        flat = rows[self._first_row :].reshape(before.shape[0], -1)
        means = new[touched] @ ((before[:, between].T @ flat) / degree[between, None]) / total[touched, None]
        return touched + old, means.reshape(len(touched), *rows.shape[1:]).astype(rows.dtype)
