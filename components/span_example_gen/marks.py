"""Why rows can't be used: the first reason of each."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa

from components.span_example_gen.casts import shortened, text_of
from components.span_example_gen.readers.raw_batch import RawBatch
from components.suppression_list import FORGOTTEN


@dataclasses.dataclass(frozen=True)
class Reject:
    """A row that can't be used: its line or row, the reason and the value at fault."""

    row: int
    reason: str
    value: str


class Marks:
    """The first reason found for each row."""

    def __init__(self, rows: int) -> None:
        self._reason = np.full(rows, -1, dtype=np.int16)
        self._found: list[tuple[str, str]] = []

    def add(self, reason: str, column: str, mask: np.ndarray) -> None:
        self._reason[mask & (self._reason < 0)] = len(self._found)
        self._found.append((reason, column))

    @property
    def clean(self) -> np.ndarray:
        return self._reason < 0

    @property
    def any(self) -> bool:
        return bool((self._reason >= 0).any())

    def rejects(self, raw: RawBatch) -> list[Reject]:
        rejected = []
        for number, (reason, column) in enumerate(self._found):
            at = np.flatnonzero(self._reason == number)
            if reason == FORGOTTEN:
                rejected += [Reject(int(row), reason, "") for row in raw.rows[at]]
                continue
            values = text_of(raw.columns[column].take(pa.array(at))).to_pylist()
            rejected += [
                Reject(int(row), reason, shortened(value)) for row, value in zip(raw.rows[at], values, strict=True)
            ]
        return rejected
