"""TensorBoard's training curves: one axis of global steps over all days."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from trainer.keras2 import tf


class TrainingLog:
    """Writes a training's losses by global step, and its held-out losses by epoch, as event files of its own.

    A training that is run again for the same version replaces the curves of the first.
    """

    def __init__(self, folder: str | None, version: int) -> None:
        self._writer = None
        self._last_step = 0
        if folder is None:
            return
        suffix = f".{version}"
        for old in Path(folder).glob(f"*{suffix}"):
            old.unlink()
        self._writer = tf.summary.create_file_writer(folder, filename_suffix=suffix)

    def step(self, step: int, loss: float) -> None:
        """One optimizer step, counted over all days."""
        self._last_step = step
        self._scalar("training/loss", loss, step)

    def epoch(self, span: int, epoch: int, loss: float) -> None:
        """The loss on the held-out part after an epoch."""
        del span, epoch
        self._scalar("training/held_out", loss, self._last_step)

    def _scalar(self, name: str, value: float, step: int) -> None:
        if self._writer is not None:
            with self._writer.as_default():
                tf.summary.scalar(name, value, step=step)

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
