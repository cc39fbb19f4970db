"""Exemplars of a user leave a replay memory, and those of others stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.erasure.learned_rows import erase_in_memory, erase_in_state, exemplars_in
from trainer.input_pipeline import Sequences
from trainer.models.base import TableSizes
from trainer.stability.replay_memory import ReplayMemory
from trainer.train_state import ModelState


def test_exemplars_go_by_row_or_where_the_row_is_shared_by_time(tmp_path: Path) -> None:
    key = np.array([5, 6, 1, 1, 5])
    sequences = Sequences(
        items=np.arange(10, 15),
        timestamps=np.array([100, 200, 300, 400, 500]),
        weights=np.ones(5, np.float32),
        splits=np.arange(6),
        key=key,
        first_new=np.zeros(5, np.int64),
        first_today=np.zeros(5, np.int64),
    )
    memory = ReplayMemory(9, sequences, np.array([1, 1, 2, 2, 3]), np.arange(5, dtype=np.uint64))
    memory.save(tmp_path / "memory.npz")
    assert exemplars_in(tmp_path / "memory.npz", [5], [200, 400], 2) == 3
    assert erase_in_memory(tmp_path / "memory.npz", rows=[5], times=[200, 400], shared=2) == 3
    left = ReplayMemory.load(tmp_path / "memory.npz")
    assert left.sequences.key.tolist() == [6, 1]
    assert left.sequences.timestamps.tolist() == [200, 300]
    assert (left.budget, left.span.tolist(), left.draw.tolist()) == (9, [1, 2], [1, 2])
    assert erase_in_memory(tmp_path / "memory.npz", rows=[5], times=[200, 400], shared=2) == 0


def test_of_a_key_go_its_vector_its_slots_and_what_held_it(tmp_path: Path) -> None:
    table, other = "key_embedding/embeddings", "item_embedding/embeddings"

    def full() -> np.ndarray:
        return np.ones((4, 2), np.float32)

    state = ModelState(
        {table: full(), other: full()}, {table: {"m": full()}}, 3, TableSizes(4, 4, 2), (1,),
        fisher={table: full(), other: full()},
    )  # fmt: skip
    state.save(tmp_path)
    assert erase_in_state(tmp_path, "two_tower", [3])
    left = ModelState.load(tmp_path)
    for array in (left.weights[table], left.slots[table]["m"], left.fisher[table]):
        assert array.any(axis=1).tolist() == [True, True, True, False]
    for array in (left.weights[other], left.fisher[other]):
        assert array.all()
    assert not erase_in_state(tmp_path, "two_tower", [3])
