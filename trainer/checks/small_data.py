"""Sequences small enough to be read, made from nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.input_pipeline import Positions, Sequences
from trainer.models.base import TableSizes


def sequences(rows: Sequence[tuple[int, Sequence[int] | np.ndarray, int]]) -> Sequences:
    """Sequences from (key row, item rows, first new position); all new ones are the span's own."""
    lengths = [len(items) for _, items, _ in rows]
    items = np.array([item for _, items, _ in rows for item in items], np.int64)
    first = np.array([first for _, _, first in rows], np.int64)
    return Sequences(
        items=items,
        timestamps=np.arange(len(items), dtype=np.int64),
        weights=np.ones(len(items), np.float32),
        splits=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        key=np.array([key for key, _, _ in rows], np.int64),
        first_new=first,
        first_today=first,
    )


def random_sequences(sizes: TableSizes, count: int, seed: int) -> Sequences:
    """`count` sequences of one to eight events over all rows from `first_row` on."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        items = random.integers(sizes.first_row, sizes.items, random.integers(1, 9))
        rows.append((int(random.integers(sizes.first_row, sizes.keys)), items, int(random.integers(0, len(items)))))
    return sequences(rows)


def held_out(sizes: TableSizes, count: int, seed: int) -> Positions:
    """The last position of `count` random sequences each."""
    random = random_sequences(sizes, count, seed).positions()
    return random.take(np.arange(min(count, len(random))))
