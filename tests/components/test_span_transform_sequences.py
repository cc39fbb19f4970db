"""How a key's events are cut into training sequences: each new one once, with what came before it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.span_transform.sequences import RELEASED, TRAIN, TRAINED, Timelines, cut_sequences

# A key's phases, in the order of time: a day may bring events from between, or before, what was trained on.
PHASES = st.lists(st.sampled_from([TRAINED, RELEASED, TRAIN]), max_size=25)


def timelines(keys: list[list[int]]) -> Timelines:
    phases = np.array([phase for key in keys for phase in key], np.int64)
    items = pa.array([b"item%d" % number for number in range(len(phases))], pa.binary())
    return Timelines(
        keys=pa.array([b"key%d" % number for number in range(len(keys))], pa.binary()),
        starts=np.concatenate([[0], np.cumsum([len(key) for key in keys])]).astype(np.int64),
        phases=phases,
        items=items.dictionary_encode(),
        timestamps=pa.array(np.arange(len(phases))),
        weights=pa.array(np.ones(len(phases), np.float32)),
    )


def context(keys: list[list[int]], length: int) -> dict[int, int]:
    """How many events stand before each new event in its slice, by its place among all events."""
    cuts, before = cut_sequences(timelines(keys), length), {}
    for begin, end, first in zip(cuts.begin, cuts.end, cuts.first_new, strict=True):
        assert 0 < end - begin <= length
        for at in range(begin + first, end):
            assert at not in before, "an event is learned once"
            before[at] = at - begin
    return before


@given(st.lists(PHASES, max_size=3), st.integers(2, 8))
def test_no_new_event_but_the_first_of_a_key_goes_without_a_past(keys: list[list[int]], length: int) -> None:
    of_slice, at = context(keys, length), 0
    for key in keys:
        for place, phase in enumerate(key):
            assert (at in of_slice) == (phase != TRAINED)
            assert phase == TRAINED or (of_slice[at] > 0) == (place > 0)
            at += 1


@pytest.mark.parametrize("length", [2, 5, 6])
@pytest.mark.parametrize("old", [1, 4, 20])
def test_a_past_is_kept_whatever_the_number_of_new_events(length: int, old: int) -> None:
    for new in (1, length - 1, length, length + 1, 2 * length - 1, 2 * length, 2 * length + 1):
        of_slice = context([[TRAINED] * old + [TRAIN] * new], length)
        assert sorted(of_slice) == list(range(old, old + new))
        assert min(of_slice.values()) >= 1
        if new >= length:  # several slices, of which each begins with half or with what there is
            assert min(of_slice.values()) >= min(old, length // 2)


@given(st.lists(PHASES, max_size=3))
def test_slices_of_one_event_hold_each_new_one(keys: list[list[int]]) -> None:
    new = [phase != TRAINED for key in keys for phase in key]
    assert context(keys, 1) == dict.fromkeys(np.flatnonzero(new).tolist(), 0)
