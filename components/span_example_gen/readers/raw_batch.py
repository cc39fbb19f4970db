"""What every reader hands to the checks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa

BATCH_ROWS = 65_536
PIECE_BYTES = 8 << 20

# What a context column holds; None while only missing values were seen.
Kind = Literal["bytes", "int", "float"] | None
BOOLEAN, NESTED = 1, 2
# Digits and sign of an integer that surely fits into 64 bits.
LONGEST_INT = 18


@dataclasses.dataclass(frozen=True)
class FilePiece:
    """A part of one file that is read on its own.

    `start` and `length` are bytes for text (length None: to the end), row groups for Parquet; unused for TFRecord.
    `first_row` is the 1-based line or row that the piece starts at. `header` names the columns of a CSV file.
    """

    path: str
    name: str
    start: int = 0
    length: int | None = None
    first_row: int = 1
    header: tuple[str, ...] = ()
    size: int = 0


@dataclasses.dataclass(frozen=True)
class RawBatch:
    """At most `BATCH_ROWS` rows as they stand in the file.

    `columns`: name to array, strings where the format has no types, missing values null. `rows`: int64 [n], the 1-based
    physical line (text) or row (Parquet, TFRecord) of each. `malformed`: line or row and text of those that can't be
    parsed. `kinds`: what the text of a column stands for, where the reader knows better than the array's type.
    `shapes`: uint8 [n] of a column, where some of its cells hold a truth value (`BOOLEAN`), or a list or an object
    (`NESTED`), whose text stands in `columns`. `absent`: columns that the file does not have; null in `columns`.
    """

    columns: dict[str, pa.Array]
    rows: np.ndarray
    malformed: Sequence[tuple[int, str]] = ()
    kinds: dict[str, Kind] = dataclasses.field(default_factory=dict)
    shapes: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    absent: frozenset[str] = frozenset()
    present: frozenset[str] = frozenset()

    def not_scalar(self, name: str, least: int = BOOLEAN) -> np.ndarray:
        """Which cells of a column hold no single number or text, bool [n]: `NESTED`, or truth values too."""
        shape = self.shapes.get(name)
        return np.zeros(len(self.rows), dtype=bool) if shape is None else shape >= least


def group_pieces(pieces: Iterable[FilePiece]) -> list[tuple[FilePiece, ...]]:
    """Packs neighbours into tasks of about `PIECE_BYTES`, so that many small files do not become many small files."""
    tasks: list[tuple[FilePiece, ...]] = []
    current: list[FilePiece] = []
    size = 0
    for piece in pieces:
        if current and size + piece.size > PIECE_BYTES:
            tasks.append(tuple(current))
            current, size = [], 0
        current.append(piece)
        size += piece.size
    if current:
        tasks.append(tuple(current))
    return tasks
