"""What an update that was broken off goes on from: the last span that it finished, and the last epoch of the next.

Of what comes in between nothing is kept: it follows from the same files and seeds again. So an update that went on
from here ends with the very bits of one that was never broken off, wherever its steps draw by their number (see
`compiled_step.seeded_step`).
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.atomic_write import atomic_folder
from trainer.keras2 import keras
from trainer.stability.replay_memory import ReplayMemory
from trainer.train_state import ModelState, Trainable

if TYPE_CHECKING:
    from trainer.early_stopping import EarlyStopping

_ABOUT = "about.json"
_PLATEAU = ("wait", "best", "cooldown_counter")  # what Keras's `ReduceLROnPlateau` counts


@dataclasses.dataclass(frozen=True)
class FinishedSpans:
    """The spans of an update that are learned, and what is left of them.

    Attributes:
      spans: their numbers, in order.
      state, memory: after the last of them.
      counters: what was counted, and the notes.
    """

    spans: tuple[int, ...]
    state: ModelState
    memory: ReplayMemory
    counters: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class FinishedEpochs:
    """The epochs of a span that are learned.

    Attributes:
      span: its number.
      epochs: how many.
      state: after the last of them; `best` after that which was best, None where it is the same.
      watched: the best value so far; `since_best`: epochs since then; `train_loss`: the last mean.
      learning_rate: as the last epoch left it; `plateau`: what is counted for the next change of it.
    """

    span: int
    epochs: int
    state: ModelState
    best: ModelState | None
    watched: float
    since_best: int
    train_loss: float
    learning_rate: float
    plateau: tuple[float, ...]


class Progress:
    """Keeps the progress of a training in a folder that all of its workers see.

    Args:
      folder: of this training alone.
      writes: whether this process is the one that writes; the others only read, when they begin.
    """

    def __init__(self, folder: Path, writes: bool) -> None:
        self._folder, self._writes = folder, writes

    def of(self, spans: Sequence[int]) -> Progress:
        """That of the update which learns the spans of these numbers: a training may be several."""
        return Progress(self._folder / f"to-{spans[-1]}", self._writes)

    @property
    def finished(self) -> FinishedSpans | None:
        """What is finished; None for nothing."""
        folder = self._folder / "spans"
        if not folder.exists():
            return None
        about = json.loads((folder / _ABOUT).read_text())
        memory = ReplayMemory.load(folder / "memory.npz")
        return FinishedSpans(tuple(about["spans"]), ModelState.load(folder), memory, about["counters"])

    def finish(self, finished: FinishedSpans) -> None:
        """In the place of what was finished before."""
        if not self._writes:
            return
        with atomic_folder(self._folder / "spans") as folder:
            finished.state.save(folder)
            finished.memory.save(folder / "memory.npz")
            (folder / _ABOUT).write_text(json.dumps({"spans": finished.spans, "counters": finished.counters}))
        shutil.rmtree(self._folder / "epochs", ignore_errors=True)

    def epochs(self, span: int) -> FinishedEpochs | None:
        """What is learned of that span; None for nothing."""
        folder = self._folder / "epochs"
        if not folder.exists():
            return None
        about = json.loads((folder / _ABOUT).read_text())
        if about["span"] != span:
            return None
        best = ModelState.load(folder / "best") if (folder / "best").exists() else None
        about["plateau"] = tuple(about["plateau"])
        return FinishedEpochs(**about, state=ModelState.load(folder / "now"), best=best)

    def keep(self, epochs: FinishedEpochs) -> None:
        """In the place of those kept before."""
        if not self._writes:
            return
        with atomic_folder(self._folder / "epochs") as folder:
            epochs.state.save(folder / "now")
            if epochs.best is not None:
                epochs.best.save(folder / "best")
            about = {
                field.name: getattr(epochs, field.name)
                for field in dataclasses.fields(epochs)
                if field.name not in ("state", "best")
            }
            (folder / _ABOUT).write_text(json.dumps(about))


class KeepEpochs(keras.callbacks.Callback):
    """Keeps each epoch of a span but the last, which the span's end follows; the last of the callbacks.

    Args:
      progress: where to.
      span: its number; `most`: how many epochs it has at most.
      early_stopping, plateau: the callbacks before that count; None for the latter where there is none.
    """

    def __init__(
        self,
        progress: Progress,
        trainable: Trainable,
        span: int,
        most: int,
        early_stopping: EarlyStopping,
        plateau: keras.callbacks.Callback | None,
    ) -> None:
        super().__init__()
        self._progress, self._trainable, self._span, self._most = progress, trainable, span, most
        self._early_stopping, self._plateau = early_stopping, plateau
        self._begun = progress.epochs(span)

    def go_on(self, check: Callable[[int, str], None]) -> int:
        """Puts the model where the last epoch left it; returns how many are learned, once it has passed the `check`."""
        begun = self._begun
        check(0 if begun is None else begun.epochs, "number of learned epochs")
        if begun is None:
            return 0
        self._trainable.write(begun.state.weights, begun.state.slots)
        self._trainable.optimizer.iterations.assign(begun.state.iterations)
        self._early_stopping.go_on(
            begun.best or begun.state, begun.watched, begun.since_best, begun.epochs, begun.train_loss
        )
        return begun.epochs

    def on_train_begin(self, logs: dict | None = None) -> None:
        if self._begun is None:
            return
        self.model.optimizer.learning_rate = self._begun.learning_rate
        for name, value in zip(_PLATEAU, self._begun.plateau, strict=False):
            setattr(self._plateau, name, value)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if self.model.stop_training or epoch + 1 >= self._most:
            return
        stopping, trainable = self._early_stopping, self._trainable
        sizes = trainable.model.sizes
        plateau = tuple(float(getattr(self._plateau, name)) for name in _PLATEAU) if self._plateau else ()
        self._progress.keep(
            FinishedEpochs(
                self._span,
                epoch + 1,
                trainable.state(sizes, (), {}),
                stopping.best_state(sizes),
                stopping.best,
                stopping.since_best,
                stopping.train_loss,
                float(self.model.optimizer.learning_rate.numpy()),
                plateau,
            )
        )
