"""Reports how far the training of a span is."""

from __future__ import annotations

from trainer.keras2 import keras
from trainer.progress import report


class TrainingProgress(keras.callbacks.Callback):
    """Reports the steps of a span's epochs."""

    def __init__(self, span: int, steps: int, epochs: int) -> None:
        super().__init__()
        self._span, self._steps, self._epochs, self._made = span, steps, epochs, 0

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._made += 1
        epoch = min((self._made - 1) // self._steps + 1, self._epochs)
        report(
            f"span {self._span}, epoch {epoch} of at most {self._epochs}, steps", self._made, self._steps * self._epochs
        )
