"""Figures by how often an item or key had been trained on before the span."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from trainer.input_pipeline import Positions, Sequences
from trainer.vocabulary import Vocabulary

_SLICES = np.array([b"new", b"cold", b"warm"], object)
_FROM = np.array([1, 5, 20, 100])  # events before, from which on the next slice begins
_EVENTS = np.array([b"0", b"1-4", b"5-19", b"20-99", b"100+"], object)
EVENTS_COLUMN = "item_events"


def trained_before(
    sequences: Sequences, positions: Positions, vocabulary_uri: str, cold_below: int
) -> dict[str, np.ndarray]:
    """`item_slice` and `key_slice` of positions of a span's training sequences, bytes [p] each.

    The span's vocabulary counts what was trained on, this span included, and every event that it grew by is one new
    position of `sequences`: without those it is the vocabulary of the day before, which `SpanTransform` labels the
    held-out events by. An id without a row of its own counts as new.

    Args:
      sequences: of the span, whole.
      positions: some of theirs.
      vocabulary_uri: folder of the span's vocabularies.
      cold_below: what was trained on less often is cold.
    """
    learned = sequences.positions()
    rows = {"items": (learned.target, positions.target), "keys": (learned.key, positions.key)}
    trained = {}
    for name, (today, position_rows) in rows.items():
        before = counts_before(Vocabulary.load(vocabulary_uri, name), today)[position_rows]
        trained[f"{name[:-1]}_slice"] = _SLICES[np.where(before <= 0, 0, np.where(before < cold_below, 1, 2))]
    return trained


def counts_before(vocabulary: Vocabulary, today: np.ndarray) -> np.ndarray:
    """How often each row was trained on before the span, int64 [size]; none of a row that ids share.

    Args:
      vocabulary: of the span.
      today: int64 [n], the rows that the span's vocabulary grew by.
    """
    counts = np.concatenate([np.zeros(vocabulary.first_row, np.int64), vocabulary.counts])
    counts[vocabulary.first_row :] -= np.bincount(today, minlength=len(counts))[vocabulary.first_row :]
    return np.maximum(counts, 0)


def events_before(counts: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The slice of each of int64 [p] item rows by its `counts` (see `counts_before`): bytes [p], `0` to `100+`."""
    return _EVENTS[np.searchsorted(_FROM, counts[rows], side="right")]


def by_slice(
    labels: Mapping[str, np.ndarray], measure: Callable[[np.ndarray], dict[str, float]]
) -> dict[str, dict[str, float]]:
    """`measure` of the positions [s] in each slice, by names like `item_slice:new`; a slice without any is left out."""
    return {
        f"{column}:{label.decode()}": measure(np.flatnonzero(of == label))
        for column, of in labels.items()
        for label in (_EVENTS if column == EVENTS_COLUMN else _SLICES)
        if (of == label).any()
    }
