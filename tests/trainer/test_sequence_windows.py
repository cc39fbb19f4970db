"""Windows predict every new event once, with as much before it as fits, whatever the batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.checks.small_data import sequences
from trainer.input_pipeline import Sequences
from trainer.sequence_windows import Windows

LENGTH = 6


@st.composite
def spans(draw: st.DrawFn) -> Sequences:
    rows = []
    for number in range(draw(st.integers(0, 5))):
        length = draw(st.integers(1, 30))
        items = [100 * (number + 1) + place for place in range(length)]
        rows.append((number, items, draw(st.integers(0, length - 1))))
    return sequences(rows)


def pairs(windows: Windows) -> list[tuple[int, int]]:
    """Every item that is predicted, and the one right before it."""
    return [
        (int(windows.items[at - 1]), int(windows.items[at]))
        for first, end in zip(windows.first, windows.end, strict=True)
        for at in range(first, end + 1)
    ]


@given(spans())
def test_every_new_event_after_another_is_predicted_once(span: Sequences) -> None:
    windows = Windows.of(span, LENGTH)
    positions = span.positions()
    expected = [
        int(label)
        for label, begin, end in zip(positions.target, positions.begin, positions.end, strict=True)
        if end > begin
    ]
    assert sorted(item for _, item in pairs(windows)) == sorted(expected)
    assert windows.positions == len(expected)


@given(spans())
def test_a_window_fits_stays_in_its_sequence_and_gives_context(span: Sequences) -> None:
    windows = Windows.of(span, LENGTH)
    for begin, end, first in zip(windows.begin, windows.end, windows.first, strict=True):
        read = windows.items[begin : end + 1]
        assert 1 <= end - begin <= LENGTH
        assert len({int(label) // 100 for label in read}) == 1, "a window may not reach into another sequence"
        assert begin < first <= end
        # Less context than half a window only where the sequence begins.
        assert first - begin >= LENGTH // 2 or int(windows.items[begin]) % 100 == 0


@given(spans(), st.integers(1, 20))
def test_batches_hold_what_the_windows_say(span: Sequences, batch_size: int) -> None:
    windows = Windows.of(span, LENGTH)
    pairs_read = []
    data = windows.dataset(batch_size, shuffle_seed=3)
    # Every epoch as long as the first, or Keras would end the training.
    assert [len(list(data)) for _ in range(3)] == [windows.batches(batch_size)] * 3
    for batch in data:
        history, item, weight = (batch[name].numpy() for name in ("history", "item", "weight"))
        assert history.shape == item.shape == weight.shape
        assert (history[:, 0] > 0).all()
        assert (item > 0).any(axis=1).all()
        assert ((weight > 0) == (item > 0)).all()
        pairs_read += [(int(history[at]), int(item[at])) for at in zip(*np.nonzero(item), strict=True)]
    assert sorted(pairs_read) == sorted(pairs(windows))


def orders(windows: Windows, seed: int, epochs: int) -> list[list[int]]:
    data = windows.dataset(8, shuffle_seed=seed)
    return [[int(item) for batch in data for item in batch["history"][:, 0]] for _ in range(epochs)]


def test_each_epoch_has_its_own_order_which_the_seed_gives() -> None:
    windows = Windows.of(sequences([(0, [100 * i, 100 * i + 1], 0) for i in range(1, 60)]), LENGTH)
    first, second = orders(windows, 1, 2)
    assert first != second
    assert sorted(first) == sorted(second)
    assert orders(windows, 1, 2) == [first, second]
    assert orders(windows, 2, 1) != [first]


@pytest.mark.parametrize("batch_size", [16, 50])
def test_batches_are_of_one_size_in_positions(batch_size: int) -> None:
    random = np.random.default_rng(0)
    windows = Windows.of(sequences([(0, list(range(1, random.integers(3, 8))), 0) for _ in range(400)]), LENGTH)
    sizes = [int((batch["item"].numpy() > 0).sum()) for batch in windows.dataset(batch_size, shuffle_seed=1)]
    assert sum(sizes) == windows.positions
    assert min(sizes) > 0.5 * batch_size
    assert max(sizes) <= batch_size + LENGTH


def test_an_event_alone_has_nothing_to_be_predicted_from() -> None:
    assert len(Windows.of(sequences([(0, [5], 0), (1, [6], 0)]), LENGTH)) == 0
    assert list(Windows.of(sequences([]), LENGTH).dataset(4, shuffle_seed=1)) == []
