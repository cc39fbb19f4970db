"""Figures by how often an item or key had been trained on before the span."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from trainer.input_pipeline import Positions, Sequences
from trainer.vocabulary import Vocabulary

_SLICES = np.array([b"new", b"cold", b"warm"], object)


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
        vocabulary = Vocabulary.load(vocabulary_uri, name)
        counts = np.concatenate([np.zeros(vocabulary.first_row, np.int64), vocabulary.counts])
        counts -= np.bincount(today, minlength=len(counts))
        before = np.where(position_rows < vocabulary.first_row, 0, counts[position_rows])
        trained[f"{name[:-1]}_slice"] = _SLICES[np.where(before <= 0, 0, np.where(before < cold_below, 1, 2))]
    return trained


def by_slice(
    labels: Mapping[str, np.ndarray], measure: Callable[[np.ndarray], dict[str, float]]
) -> dict[str, dict[str, float]]:
    """`measure` of the positions [s] in each slice, by names like `item_slice:new`; a slice without any is left out."""
    return {
        f"{column}:{label.decode()}": measure(np.flatnonzero(of == label))
        for column, of in labels.items()
        for label in _SLICES
        if (of == label).any()
    }
