"""What a batch gave: each request has a share of it, and what can be made of all rows at once is made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

Row = TypeVar("Row")
OfRows = Callable[[Mapping[str, np.ndarray]], Sequence[Row]]


class BatchOutputs:
    """The outputs of a batch by name, each [rows, ...]."""

    def __init__(self, tensors: Mapping[str, np.ndarray]) -> None:
        self.tensors = tensors
        self._made: dict[OfRows[Any], Sequence[Any]] = {}

    def made(self, make: OfRows[Row]) -> Sequence[Row]:
        """What `make` gives of all rows, an element a row; called once. For one thread at a time."""
        if make not in self._made:
            self._made[make] = make(self.tensors)
        return self._made[make]


class BatchShare(Mapping[str, np.ndarray]):
    """The rows from `start` to `end` of a batch: a request's own outputs by name."""

    def __init__(self, batch: BatchOutputs, start: int, end: int) -> None:
        self._batch = batch
        self._rows = slice(start, end)

    def of_batch(self, make: OfRows[Row]) -> Sequence[Row]:
        """The share's part of what `make` gives of the whole batch, an element a row."""
        return self._batch.made(make)[self._rows]

    def __getitem__(self, name: str) -> np.ndarray:
        return self._batch.tensors[name][self._rows]

    def __iter__(self) -> Iterator[str]:
        return iter(self._batch.tensors)

    def __len__(self) -> int:
        return len(self._batch.tensors)
