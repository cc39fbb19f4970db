"""Values of key and context features, as they travel beside events and reach a model with the key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from trainer.features.declaration import MISSING

Values: TypeAlias = Mapping[str, np.ndarray]
"""By `Feature.vocabulary`: of words their rows, int64 [n, slots], 0 behind; of numbers float32 [n], NaN where it is
missing, infinite where it can't be read."""

PREFIX = "feature_"  # how the names of all values begin
ROW = "row"  # the key's own row, where a key comes with values


def row_of(key: Any) -> Any:
    """The rows of keys alone, int64 [b]: a model's `key` is these, or a mapping of `ROW` and the values of features."""
    return key[ROW] if isinstance(key, Mapping) else key


def with_values(row: Any, values: Mapping[str, Any]) -> Any:
    """The `key` of a model: rows and what is known of them, or the rows alone where nothing is."""
    return {ROW: row, **values} if values else row


def take(values: Values, index: np.ndarray) -> dict[str, np.ndarray]:
    """The values of the events at `index`."""
    return {name: of[index] for name, of in values.items()}


def concatenate(parts: Sequence[tuple[int, Values]]) -> dict[str, np.ndarray]:
    """The values of several lots of events, each with their number; what a lot says nothing of is missing there.

    So is what it says of a feature that has become one of another kind since, of words instead of numbers.
    """
    kinds = {name: of.dtype for _, values in parts for name, of in values.items()}
    fitting = [(count, {name: of for name, of in values.items() if of.dtype == kinds[name]}) for count, values in parts]
    shapes: dict[str, tuple[int, ...]] = {}
    for _, values in fitting:  # more words of an event may be kept than before
        shapes |= {name: max(shapes.get(name, ()), of.shape[1:]) for name, of in values.items()}
    return {
        name: np.concatenate([_padded(values.get(name), count, shape, kinds[name]) for count, values in fitting])
        for name, shape in shapes.items()
    }


def nothing(count: int, shape: tuple[int, ...], kind: np.dtype) -> np.ndarray:
    """What stands for "missing", so many times."""
    values = np.full((count, *shape), np.nan if kind.kind == "f" else 0, kind)
    if shape and count:
        values[:, 0] = MISSING
    return values


def _padded(values: np.ndarray | None, count: int, shape: tuple[int, ...], kind: np.dtype) -> np.ndarray:
    if values is None:
        return nothing(count, shape, kind)
    return np.pad(values, [(0, 0), (0, shape[0] - values.shape[1])]) if shape else values
