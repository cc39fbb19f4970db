"""A training's losses: TensorBoard's curves on one axis of global steps over all days, and a file beside the model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import TracebackType

import numpy as np

from trainer.keras2 import tf

_POINTS = 200  # of a curve that is kept: what an eye can see


@dataclasses.dataclass(frozen=True)
class Losses:
    """The losses of one training.

    Attributes:
      steps: optimizer steps, counted from the first fresh weights on: the last of those that are averaged in a point.
      losses: the mean training loss of each point.
      epochs: by epoch the step that it ended on, its span, its number from 1, and what was watched on held-out events.
      watch: what that is: `loss` or a metric.
    """

    steps: list[int]
    losses: list[float]
    epochs: list[tuple[int, int, int, float]]
    watch: str

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Losses:
        return cls(**json.loads(path.read_text()))


class TrainingLog:
    """Writes a training's losses by global step, and its held-out losses by epoch, as event files of its own.

    A training that is run again for the same version replaces the curves of the first.
    """

    def __init__(self, folder: str | None, version: int) -> None:
        self._writer = None
        self._last_step = 0
        self._steps: list[tuple[int, float]] = []
        self._epochs: list[tuple[int, int, int, float]] = []
        if folder is None:
            return
        suffix = f".{version}"
        for old in Path(folder).glob(f"*{suffix}"):
            old.unlink()
        self._writer = tf.summary.create_file_writer(folder, filename_suffix=suffix)

    def step(self, step: int, loss: float) -> None:
        """One optimizer step, counted over all days."""
        self._last_step = step
        self._steps.append((step, loss))
        self._scalar("training/loss", loss, step)

    def epoch(self, span: int, epoch: int, loss: float) -> None:
        """The loss on the held-out part after an epoch."""
        self._epochs.append((self._last_step, span, epoch, loss))
        self._scalar("training/held_out", loss, self._last_step)

    def losses(self, watch: str) -> Losses:
        """What was written so far; of many steps means of equal numbers of them. `watch`: see `Losses`."""
        parts = [part for part in np.array_split(np.array(self._steps), _POINTS) if len(part)] if self._steps else []
        return Losses(
            [int(part[-1, 0]) for part in parts], [float(part[:, 1].mean()) for part in parts], self._epochs, watch
        )

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
