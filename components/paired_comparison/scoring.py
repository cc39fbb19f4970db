"""The paired differences of two bundles on held-out positions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from components.next_span_evaluator.component import event_weights, per_position
from components.paired_comparison.differences import Differences, paired
from trainer.input_pipeline import Positions, read_held_out, read_keys


class Events:
    """Held-out positions, and what each model makes of them.

    Attributes:
      positions: [p].
      weights: float64 [p], how much each counts.
      keys: int64 [p], see `Differences.keys`.
      slices: column to bytes [p].
    """

    def __init__(
        self, files: Sequence[str], oov_rows: int, history_length: int, weighted: bool, most: int | None = None
    ) -> None:
        """Reads `files`; of more than `most` positions as many are taken, evenly spread."""
        self._history_length = history_length
        self.positions, self.slices = read_held_out(files)
        _, number = np.unique(read_keys(files), return_inverse=True)
        # Rows below are shared: a key without a row of its own is told from others by its id, which is not kept.
        self.keys = np.where(self.positions.key > oov_rows, self.positions.key, -1 - number)
        if most is not None and len(self.positions) > most:
            chosen = np.linspace(0, len(self.positions) - 1, most).astype(np.int64)
            self.positions, self.keys = self.positions.take(chosen), self.keys[chosen]
            self.slices = {name: labels[chosen] for name, labels in self.slices.items()}

        self.weights = event_weights((self.positions,), weighted)

    def score(self, signature: Any) -> dict[str, np.ndarray]:
        """Metric to what a bundle's `evaluate_rows` makes of each, float64 [p]."""
        parts: tuple[Positions, ...] = (self.positions,)
        return per_position(signature, parts, self._history_length)

    def gains(
        self, ours: Mapping[str, np.ndarray], of_other: Mapping[str, np.ndarray], lower_is_better: Iterable[str]
    ) -> Differences:
        """What one model's scores gain on another's."""
        return paired(ours, of_other, self.weights, self.keys, self.slices, lower_is_better)
