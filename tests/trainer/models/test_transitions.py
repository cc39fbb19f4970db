"""What is counted is what a plain count says, over any number of spans."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.checks.small_data import random_sequences, sequences
from trainer.input_pipeline import Sequences
from trainer.keras2 import tf
from trainer.models.base import TableSizes
from trainer.models.transitions import Neighbours, Transitions

SIZES = TableSizes(12, 5, 2)


def plain_counts(spans: list[Sequences]) -> tuple[Counter, Counter]:
    together: Counter = Counter()
    following: Counter = Counter()
    for span in spans:
        for begin, end, first in zip(span.splits, span.splits[1:], span.first_new, strict=False):
            items = span.items[begin:end]
            for at in range(first, len(items)):
                for before in range(max(0, at - 10), at):
                    earlier, other = int(items[before]), int(items[at])
                    if earlier != other and min(earlier, other) >= SIZES.first_row:
                        together[earlier, other] += 1 / (at - before)
                        together[other, earlier] += 1 / (at - before)
                        if before == at - 1:
                            following[earlier, other] += 1
    return together, following


def counted(table: Neighbours) -> dict[tuple[int, int], float]:
    rows, weights = table.rows.numpy(), table.weights_.numpy()
    return {
        (item, int(rows[item, place])): pytest.approx(weights[item, place], rel=1e-5)
        for item, place in zip(*np.nonzero(weights), strict=True)
    }


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=3))
def test_counts_add_up_over_spans(seeds: list[int]) -> None:
    spans = [random_sequences(SIZES, 6, seed) for seed in seeds]
    layer = Transitions(SIZES, neighbours=SIZES.items)
    for span in spans:
        layer.count(span)
    together, following = plain_counts(spans)
    assert counted(layer.together) == together
    assert counted(layer.following) == following
    new = np.concatenate([span.positions().target for span in spans])
    assert (layer.counts.numpy() == np.bincount(new, minlength=SIZES.items)).all()


def test_the_strongest_neighbours_stay() -> None:
    table = Neighbours(items=9, most=2)
    table.add(np.array([3, 3, 3, 4]), np.array([5, 6, 7, 8]), np.array([2.0, 1.0, 3.0, 1.0], np.float32))
    assert table.rows.numpy()[3].tolist() == [7, 5]
    table.add(np.array([3, 3]), np.array([5, 6]), np.array([2.0, 3.5], np.float32))
    assert (table.rows.numpy()[3].tolist(), table.weights_.numpy()[3].tolist()) == ([5, 6], [4.0, 3.5])
    assert (table.rows.numpy()[4].tolist(), table.weights_.numpy()[4].tolist()) == ([8, 0], [1.0, 0.0])


def test_recent_events_of_a_history_speak_for_their_neighbours() -> None:
    layer = Transitions(SIZES, neighbours=4)
    layer.count(sequences([(2, [4, 5], 0), (2, [6, 7], 0), (2, [6, 7], 0)]))
    history = tf.constant([[0, 4, 6], [0, 0, 0], [0, 6, 4]], tf.int64)
    together, following = (tf.scatter_nd(few.at, few.value, [3, SIZES.items]).numpy() for few in layer(history))
    assert set(np.flatnonzero(together[0])) == {5, 7}
    assert together[0, 7] > together[0, 5] > 0, "counted twice, and more recent"
    assert set(np.flatnonzero(following[0])) == {7}, "of the last event alone"
    assert not together[1].any()
    assert not following[1].any()
    assert together[2, 7] < together[0, 7]
