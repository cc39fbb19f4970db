"""The paired differences of two bundles on held-out positions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.incremental_trainer.artifact_files import SERVING_FOLDER
from components.next_span_evaluator.component import event_weights, per_position
from components.paired_comparison.differences import Differences, paired
from trainer.input_pipeline import Positions, read_held_out, read_held_out_keys
from trainer.keras2 import tf


class Events:
    """Held-out positions, and what each model makes of them.

    Attributes:
      positions: [p].
      keys: int64 [p], see `Differences.keys`.
      slices: column to bytes [p].
    """

    def __init__(self, files: Sequence[str], oov_rows: int, most: int | None = None) -> None:
        """Reads `files`; of more than `most` positions as many are taken, evenly spread."""
        self.positions, self.slices = read_held_out(files)
        _, number = np.unique(read_held_out_keys(files), return_inverse=True)
        # Rows below are shared: a key without a row of its own is told from others by its id, which is not kept.
        self.keys = np.where(self.positions.key > oov_rows, self.positions.key, -1 - number)
        if most is not None and len(self.positions) > most:
            chosen = np.linspace(0, len(self.positions) - 1, most).astype(np.int64)
            self.positions, self.keys = self.positions.take(chosen), self.keys[chosen]
            self.slices = {name: labels[chosen] for name, labels in self.slices.items()}

    def gains(
        self, candidate: Any, other: Any, history_length: int, weighted: bool, lower_is_better: Iterable[str]
    ) -> Differences:
        """What `candidate` gains on `other`, both `evaluate_rows` signatures."""
        parts: tuple[Positions, ...] = (self.positions,)
        ours, of_other = (per_position(signature, parts, history_length) for signature in (candidate, other))
        return paired(ours, of_other, event_weights(parts, weighted), self.keys, self.slices, lower_is_better)


def signature_of(model_uri: str) -> Any:
    """A bundle's `evaluate_rows`."""
    return tf.saved_model.load(str(Path(model_uri) / SERVING_FOLDER)).signatures["evaluate_rows"]
