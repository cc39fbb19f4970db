"""What a stream is between two mini-batches: copy, vocabularies, history, verdict events and journal, as one folder.

A state is written beside and renamed, so that what was learned and the entry that says of what are there together or
not at all: a process that is killed at any moment goes on from the last whole state and reads again what came after it.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.span_pusher.streamed_versions import locked
from components.span_transform.vocabulary_growth import Vocabularies
from pipeline.config import Config
from pipeline.stream.folder import PARTIAL, DiscardedError, clear, name_after, newest
from pipeline.stream.journal import Journal
from pipeline.stream.judge import Window
from trainer.atomic_write import sync
from trainer.input_pipeline import Positions
from trainer.train_state import ModelState

_COPY, _ACCEPTED, _VOCABULARY = "copy", "accepted", "vocabulary"
_HISTORY, _WINDOW = "history.parquet", "verdict.npz"
_ARRAYS = ("items", "begin", "end", "key", "target", "weight", "timestamp")
_FEATURE = "feature|"


@dataclasses.dataclass(frozen=True)
class StreamState:
    """See the module.

    Attributes:
      journal: what was read and what came of it.
      copy: what learns next.
      accepted: the last copy that was found good enough to be served; before the first, the champion.
      vocabularies: grown by what was read.
      history: of the keys of the day.
      window: the events that judge.
    """

    journal: Journal
    copy: ModelState
    accepted: ModelState
    vocabularies: Vocabularies
    history: pa.Table
    window: Window


def load(path: Path, oov_rows: int) -> StreamState:
    """Reads a state."""
    accepted = ModelState.load(path / _ACCEPTED)
    copy = ModelState.load(path / _COPY) if (path / _COPY).exists() else accepted
    with np.load(path / _WINDOW, allow_pickle=False) as file:
        features = {name.removeprefix(_FEATURE): file[name] for name in file.files if name.startswith(_FEATURE)}
        positions = Positions(**{name: file[name] for name in _ARRAYS}, query_features=features)
        window = Window(positions, file["window_keys"], len(file["window_keys"]))
    return StreamState(
        journal=Journal.load(path),
        copy=copy,
        accepted=accepted,
        vocabularies=Vocabularies.load(path / _VOCABULARY, oov_rows),
        history=pq.read_table(path / _HISTORY).combine_chunks(),
        window=window,
    )


def commit(config: Config, state: StreamState, after: Path | None) -> Path:
    """Writes `state` as the one after the state `after`, which it takes the place of.

    Args:
      config: settings.
      state: the new one.
      after: the folder of the last; None for the first of all.

    Raises:
      DiscardedError: the last one is not there any more.
    """
    folder = config.stream_path
    target = folder / name_after(after)
    beside = folder / f".{target.name}{PARTIAL}"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    _write(beside, state)
    for path in sorted(beside.rglob("*")):
        sync(path)
    with locked(config.serving_path):
        if newest(folder) != after:
            shutil.rmtree(beside)
            raise DiscardedError("The stream's state was removed.")
        os.rename(beside, target)
        sync(folder)
    clear(folder)
    return target


def _write(folder: Path, state: StreamState) -> None:
    state.accepted.save(folder / _ACCEPTED)
    if state.copy is not state.accepted:
        state.copy.save(folder / _COPY)
    (folder / _VOCABULARY).mkdir()
    state.vocabularies.save(folder / _VOCABULARY)
    pq.write_table(state.history, folder / _HISTORY, compression="zstd")
    positions = state.window.positions
    features = {_FEATURE + name: values for name, values in positions.query_features.items()}
    arrays = {name: getattr(positions, name) for name in _ARRAYS}
    np.savez(folder / _WINDOW, **arrays, **features, window_keys=state.window.keys)
    state.journal.save(folder)
