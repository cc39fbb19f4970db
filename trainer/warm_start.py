"""Carries weights and optimizer slots, by id, from yesterday's tables into today's larger ones.

Rows are appended (`vocabulary.py`), and where ids have left the base is without their rows first (`renumbering.py`), so
that to carry an id is to copy a prefix; what is left to decide is where a new row starts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import scipy.sparse

from trainer.features.item_vectors import replaced_columns, revised_columns
from trainer.input_pipeline import Sequences
from trainer.keras2 import tf
from trainer.models.base import Recommender, TableSizes, table_of
from trainer.models.feature_tower import is_of, is_of_tower, learned_before, path_of
from trainer.models.query_tower import is_of_query_tower
from trainer.optimizers import STEPS, with_steps
from trainer.replicas import copies
from trainer.settings import NewRows
from trainer.train_state import Arrays, ModelState, StateError, Trainable


def warm_start(
    trainable: Trainable,
    base: ModelState,
    sizes: TableSizes,
    new_rows: NewRows,
    sequences: Sequences,
    learned: np.ndarray | None = None,
) -> None:
    """Writes `base` into a freshly built model and optimizer whose tables may have more rows.

    Every old row and slot is copied bit for bit; of a state that was saved before Adam counted the steps of each row
    these are what `with_steps` takes them for. A new row starts from the mean of the rows that it occurs with in
    `sequences` (`cooccurrence`), where it has none from the mean of the table (`mean`), or as the layer initialises it
    (`random`). Rows that are not trained, and slots of new rows, start as they are initialised.

    An item may have had a row before it had events: where `learned`, bool [sizes.items], is given, it is new once it
    has some. A feature that the base model did not have starts as it is initialised, with nothing added to any item,
    and so does a new word of one that it had.

    Raises:
      StateError: the model has other variables, or smaller tables, than `base`, or the optimizer other slots.
    """
    model, variables = trainable.model, trainable.variables
    _check_sizes(base.sizes, sizes)
    _check_same_variables(model, {path: tuple(of.shape) for path, of in variables.items()}, base, sizes)
    base_slots = _with_steps(base, trainable.slots)
    _check_same_slots({path: of for path, of in trainable.slots.items() if path in base.weights}, base_slots)
    rows: dict[str, _Rows] = {
        "items": _Rows.of_items(base, sizes, learned),
        "keys": _Rows(slice(sizes.first_row, base.sizes.keys), slice(base.sizes.keys, sizes.keys)),
    }
    neighbours = _Neighbours(sequences, sizes, rows) if new_rows == "cooccurrence" else None
    # In place, a variable after the other: a table may be most of the memory that there is.
    for path, old in base.weights.items():
        variable, table = variables[path], table_of(model, path)
        _carry(variable, old, table)
        informed = new_rows != "random" and variable.trainable  # a mean of counts tells nothing
        # Words have no neighbours; without an old id there is no mean either.
        if table is None or not informed or table not in rows or not len(old[rows[table].old]):
            continue
        new = rows[table].numbers(sizes.rows(table))
        mean = old[rows[table].old].mean(axis=0)
        _set_rows(variable, new, np.broadcast_to(mean, (len(new), *mean.shape)))
        if neighbours is not None:
            _set_rows(variable, *neighbours.means(table, old))
    for path, fresh_slots in trainable.slots.items():
        if path in base.weights:
            for name, slot in fresh_slots.items():
                _carry(slot, base_slots[path][name], table_of(model, path))
    trainable.optimizer.iterations.assign(base.iterations)


def _carry(variable: tf.Variable, old: np.ndarray, table: str | None) -> None:
    """Sets the variable, or the first rows of a table, to `old`."""
    if table is None or variable.shape == old.shape:
        variable.assign(old)
    else:
        for each in copies(variable):
            each[: len(old)].assign(old)


def _set_rows(variable: tf.Variable, rows: np.ndarray, values: np.ndarray) -> None:
    for each in copies(variable):
        each.scatter_nd_update(rows[:, None], values.astype(variable.dtype.as_numpy_dtype))


def without_replaced(base: ModelState, sizes: TableSizes) -> tuple[ModelState, tuple[str, ...]]:
    """`base` without what it has learned of an encoder's vectors where another has taken its place; a sentence each.

    The others' rows stay as they are, and the new one's projection starts from zero: for a span, items without events
    are told apart by their other features alone. What was learned of an encoder's vectors is carried over to those of a
    tuned revision of it, whose space has moved by a few small steps.
    """
    base, carried = _with_revisions(base, sizes)
    columns = replaced_columns(base.sizes.words, sizes.words)
    if not columns:
        return base, carried
    gone = {path for path in base.weights if any(is_of(path, column) for column in columns)}
    words = tuple(of for of in base.sizes.words if of[0].removeprefix("feature_") not in columns)
    kept = dataclasses.replace(
        base,
        weights={path: value for path, value in base.weights.items() if path not in gone},
        slots={path: value for path, value in base.slots.items() if path not in gone},
        sizes=dataclasses.replace(base.sizes, words=words),
    )
    dropped = tuple(
        f"Another encoder: what was learned of {old} is dropped, {new} begins at zero." for old, new in columns.items()
    )
    return kept, (*carried, *dropped)


def _with_revisions(base: ModelState, sizes: TableSizes) -> tuple[ModelState, tuple[str, ...]]:
    """`base` with columns named after the revisions that `sizes` has of their encoders; a sentence each."""
    columns = revised_columns(base.sizes.words, sizes.words)
    if not columns:
        return base, ()

    def renamed(path: str) -> str:
        for old, new in columns.items():
            path = path.replace(path_of(old), path_of(new))
        return path

    names = {f"feature_{old}": f"feature_{new}" for old, new in columns.items()}
    words = tuple((names.get(name, name), rows) for name, rows in base.sizes.words)
    carried = dataclasses.replace(
        base,
        weights={renamed(path): value for path, value in base.weights.items()},
        slots={renamed(path): value for path, value in base.slots.items()},
        fisher={renamed(path): value for path, value in base.fisher.items()},
        sizes=dataclasses.replace(base.sizes, words=words),
    )
    return carried, tuple(
        f"Another revision of an encoder: what was learned of {old} goes on with {new}." for old, new in columns.items()
    )


@dataclasses.dataclass(frozen=True)
class _Rows:
    """Rows of a table that have learned something, and rows that are to learn for the first time."""

    old: slice | np.ndarray
    new: slice | np.ndarray

    @classmethod
    def of_items(cls, base: ModelState, sizes: TableSizes, learned: np.ndarray | None) -> _Rows:
        if learned is None:
            return cls(slice(sizes.first_row, base.sizes.items), slice(base.sizes.items, sizes.items))
        before = np.zeros(sizes.items, bool)
        # A base model without features had rows of items with events alone.
        had_events = learned_before(base.weights)
        before[sizes.first_row : base.sizes.items] = True if had_events is None else had_events[sizes.first_row :]
        return cls(np.flatnonzero(before), np.flatnonzero(learned & ~before))

    def numbers(self, size: int) -> np.ndarray:
        """Those of `new`, of a table of `size` rows."""
        return np.arange(size)[self.new]


def _check_sizes(old: TableSizes, new: TableSizes) -> None:
    shrunk = any(count > new.rows(name) for name, count in old.words if name in dict(new.words))
    if old.first_row != new.first_row or old.items > new.items or old.keys > new.keys or shrunk:
        raise StateError(
            "A warm start needs the vocabulary of the base model, or a longer one with the same out-of-vocabulary "
            f"rows. Received: {new} after {old}. Do a full retrain."
        )


def _check_same_variables(
    model: Recommender, fresh: Mapping[str, tuple[int, ...]], base: ModelState, sizes: TableSizes
) -> None:
    added = {path for path in fresh.keys() - base.weights.keys() if is_of_tower(path) or is_of_query_tower(path)}
    if fresh.keys() - added != base.weights.keys():
        raise StateError(
            "A warm start needs the base model's variables. Received: "
            f"{sorted(fresh.keys() - base.weights.keys())} new, {sorted(base.weights.keys() - fresh.keys())} gone. "
            "The model's settings changed: do a full retrain."
        )
    for path, shape in fresh.items():
        table = table_of(model, path)
        if table is not None and shape[:1] != (sizes.rows(table),):
            raise StateError(
                f"A variable that a model names in `tables` must have a row for each of {table}, "
                f"{sizes.rows(table)}. Received: {path} of shape {shape}. Build it with `sizes.{table}` rows."
            )
        if path in added:
            continue
        expected_shape = shape if table is None else (base.sizes.rows(table), *shape[1:])
        if base.weights[path].shape != expected_shape:
            raise StateError(
                f"A warm start can add rows only, and only to the variables named in `tables`. Received: {path} of "
                f"shape {base.weights[path].shape} for a model of {shape}. The model's settings changed: do "
                "a full retrain."
            )


def _with_steps(base: ModelState, fresh: Mapping[str, Mapping[str, tf.Variable]]) -> dict[str, Arrays]:
    counted = base.iterations if base.counted is None else base.counted
    return {
        path: with_steps(of, counted) if STEPS in fresh.get(path, {}) and STEPS not in of and "v" in of else of
        for path, of in base.slots.items()
    }


def _check_same_slots(fresh: Mapping[str, Mapping[str, tf.Variable]], old: dict[str, Arrays]) -> None:
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

    def __init__(self, sequences: Sequences, sizes: TableSizes, rows: Mapping[str, _Rows]) -> None:
        count = len(sequences)
        owner = np.repeat(np.arange(count), np.diff(sequences.splits))
        ones = np.ones(len(owner), np.float32)
        # Rows of a vocabulary by what lies one step from them.
        by_item = scipy.sparse.coo_matrix((ones, (sequences.items, owner)), shape=(sizes.items, count)).tocsr()
        key_of = scipy.sparse.coo_matrix(
            (np.ones(count, np.float32), (sequences.key, np.arange(count))), shape=(sizes.keys, count)
        ).tocsr()
        by_key = (key_of @ by_item[sizes.first_row :].T).tocsr()
        self._incidence = {"items": by_item, "keys": by_key}
        self._rows = rows

    def means(self, table: str, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """New rows that have neighbours, and the mean of `values` [old, …] over each one's neighbours."""
        incidence, of = self._incidence[table], self._rows[table]
        before, new = incidence[of.old], incidence[of.new]
        degree = np.asarray(before.sum(axis=0)).ravel()
        # Only what lies between a new row and an old one is multiplied out: the cost follows the span.
        between = np.flatnonzero((degree > 0) & (np.bincount(new.indices, minlength=new.shape[1]) > 0))
        new = new[:, between]
        total = np.asarray(new.sum(axis=1)).ravel()
        touched = np.flatnonzero(total)
        flat = values[of.old].reshape(before.shape[0], -1)
        means = new[touched] @ ((before[:, between].T @ flat) / degree[between, None]) / total[touched, None]
        place = of.numbers(incidence.shape[0])[touched]
        return place, means.reshape(len(touched), *values.shape[1:]).astype(values.dtype)
