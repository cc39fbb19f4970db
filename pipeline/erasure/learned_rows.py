"""Takes users out of what is told by rows alone: model states and replay memories. Twice it changes nothing more."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from trainer.models import find_model
from trainer.stability.replay_memory import ReplayMemory
from trainer.train_state import ModelState


def erase_in_state(folder: Path, model_type: str, rows: Sequence[int]) -> bool:
    """Makes the users' own rows, in tables of keys and what goes with them, zeros; whether there was anything to do."""
    if not rows or not (folder / "state.json").exists():
        return False
    state = ModelState.load(folder)
    changed = False
    for path, weights in state.weights.items():
        if _is_of_keys(path, model_type):
            of_weights = [state.fisher[path]] if path in state.fisher else []
            for array in [weights, *state.slots.get(path, {}).values(), *of_weights]:
                within = [row for row in rows if array.ndim and row < len(array)]
                if array.any() and np.any(array[within]):
                    array[within] = 0
                    changed = True
    if changed:
        beside = folder.with_name(f".{folder.name}.{os.getpid()}")
        state.save(beside)
        for file in sorted(beside.iterdir()):
            os.replace(file, folder / file.name)
        beside.rmdir()
    return changed


def tables_of_keys(folder: Path, model_type: str) -> list[np.ndarray]:
    """A state's tables with a row a key."""
    if not (folder / "state.json").exists():
        return []
    weights = ModelState.load(folder).weights
    return [value for path, value in weights.items() if _is_of_keys(path, model_type)]


def erase_in_memory(path: Path, rows: Collection[int], times: Collection[int], shared: int) -> int:
    """Drops the users' exemplars; returns how many.

    Args:
      path: of the replay memory.
      rows: of the users.
      times: unix milliseconds of their events, for a user without a row of his own: an exemplar with a shared row
        (below `shared`) and one of these times goes, whoever's it is.
      shared: the first row that belongs to one key alone.
    """
    memory = ReplayMemory.load(path)
    of_users = _belong_to_users(memory, rows, times, shared)
    if of_users.any():
        left = np.flatnonzero(~of_users)
        kept = dataclasses.replace(
            memory, sequences=memory.sequences.take(left), span=memory.span[left], draw=memory.draw[left]
        )
        kept.save(path)
    return int(of_users.sum())


def exemplars_in(path: Path, rows: Collection[int], times: Collection[int], shared: int) -> int:
    """How many `erase_in_memory` would drop."""
    return int(_belong_to_users(ReplayMemory.load(path), rows, times, shared).sum())


def _belong_to_users(memory: ReplayMemory, rows: Collection[int], times: Collection[int], shared: int) -> np.ndarray:
    of = memory.sequences
    of_users = np.isin(of.key, list(rows))
    erased_times = np.array(sorted(times), np.int64)
    for place in np.flatnonzero((of.key < shared) & ~of_users):
        of_users[place] = np.isin(of.timestamps[of.splits[place] : of.splits[place + 1]], erased_times).any()
    return of_users


def _is_of_keys(path: str, model_type: str) -> bool:
    tables = find_model(model_type).tables
    return any(kind == "keys" and path.startswith(name) for name, kind in tables.items())
