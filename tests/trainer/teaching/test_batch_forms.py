"""One batch in two forms: the same positions, in the same order, with the same histories."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.checks.small_data import sequences
from trainer.features.query_values import ROW
from trainer.keras2 import tf
from trainer.sequence_windows import Windows
from trainer.teaching.batch_forms import as_positions, as_sequences

HISTORY = 6


def constants(batch: dict) -> dict:
    return {name: tf.constant(values, tf.int64) for name, values in batch.items()}


def test_steps_that_count_become_positions_with_what_came_before():
    batch = constants({"key": [7, 8], "history": [[2, 3, 4], [5, 0, 0]], "item": [[0, 4, 6], [9, 0, 0]]})
    positions = as_positions(batch)
    assert positions["key"].numpy().tolist() == [7, 7, 8]
    assert positions["history"].numpy().tolist() == [[0, 2, 3], [2, 3, 4], [0, 0, 5]]
    assert positions["item"].numpy().tolist() == [4, 6, 9]


def test_a_position_becomes_the_last_step_of_its_history():
    batch = constants({"key": [7, 8, 9], "history": [[0, 2, 3], [2, 3, 4], [0, 0, 0]], "item": [4, 6, 9]})
    steps = as_sequences(batch)
    assert steps["key"].numpy().tolist() == [7, 8, 9]
    assert steps["history"].numpy().tolist() == [[2, 3, 0], [2, 3, 4], [0, 0, 0]]
    assert steps["item"].numpy().tolist() == [[0, 4, 0], [0, 0, 6], [9, 0, 0]]


def test_values_of_key_and_context_go_with_their_events():
    device = np.arange(6).reshape(2, 3, 1)
    key = {ROW: tf.constant([7, 8], tf.int64), "feature_device": tf.constant(device, tf.int64)}
    rows = constants({"history": [[2, 3, 4], [5, 0, 0]], "item": [[0, 4, 6], [9, 0, 0]]})
    positions = as_positions({"key": key, **rows})["key"]
    assert positions[ROW].numpy().tolist() == [7, 7, 8]
    assert positions["feature_device"].numpy().tolist() == [[1], [2], [3]]
    again = as_sequences({**as_positions({"key": key, **rows})})
    at_its_step = tf.gather_nd(again["key"]["feature_device"], tf.where(again["item"] > 0))
    assert at_its_step.numpy().tolist() == [[1], [2], [3]]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, HISTORY), st.integers(0, 5)), min_size=1, max_size=5), st.randoms())
def test_both_forms_say_the_same_of_every_window(shapes, random):
    rows = [(2 + at, [random.randint(2, 30) for _ in range(long + 1)], new) for at, (long, new) in enumerate(shapes)]
    windows = Windows.of(sequences(rows), HISTORY)
    if not len(windows):
        return
    (batch,) = windows.dataset(10**6, shuffle_seed=1)
    positions = as_positions(batch)
    expected = [
        (key, tuple(items[:at]), items[at])
        for key, items, new in rows
        for at in range(max(new, 1), len(items))
    ]  # fmt: skip
    got = [
        (key, tuple(item for item in history if item), item)
        for key, history, item in zip(
            *(positions[name].numpy().tolist() for name in ("key", "history", "item")), strict=True
        )
    ]
    assert sorted(got) == sorted(expected)
    steps = as_sequences(positions)
    back = as_positions(steps)
    for name in ("key", "history", "item"):
        np.testing.assert_array_equal(back[name], positions[name])
