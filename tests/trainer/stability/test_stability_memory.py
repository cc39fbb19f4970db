"""Which exemplars a memory keeps, and which of an item stand for it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.small_model import HISTORY, Small, Speaking
from trainer.checks.small_data import random_sequences, sequences
from trainer.models.base import TableSizes
from trainer.stability.base import PolicyError
from trainer.stability.herding import herding, herding_rank, representations
from trainer.stability.replay_memory import ReplayMemory
from trainer.stability.selection import Selection, find_selection, frequency, recency, reservoir

SIZES = TableSizes(30, 20, 2)


def by_label(labels: list[int]) -> list[tuple[int, list[int], int]]:
    return [(place, [2, label], 1) for place, label in enumerate(labels)]


def remembered(budget: int, spans: dict[int, list[int]], selection: Selection, seed: int = 1) -> ReplayMemory:
    """The memory after spans of sequences with so many labels."""
    memory = ReplayMemory.empty(budget)
    for span, labels in spans.items():
        memory = memory.add(span, sequences(by_label(labels)), seed, selection)
    return memory


def assert_same(left: ReplayMemory, other: ReplayMemory) -> None:
    np.testing.assert_equal(dataclasses.asdict(left), dataclasses.asdict(other))


SELECTIONS = {
    "reservoir": reservoir,
    "recency": recency(2.0),
    "frequency": frequency,
    "herding": herding(representations(Speaking(SIZES, HISTORY), HISTORY)),
}


@pytest.mark.parametrize("name", SELECTIONS)
@given(st.lists(st.lists(st.integers(2, 9), max_size=15), min_size=1, max_size=4), st.integers(0, 20))
@settings(max_examples=15, deadline=None)
def test_the_budget_is_filled_and_a_repeat_doubles_nothing(name, spans, budget):
    memory = remembered(budget, dict(enumerate(spans)), SELECTIONS[name])
    assert len(memory) == min(budget, sum(map(len, spans)))
    again = memory.add(0, sequences(by_label(spans[0])), 1, SELECTIONS[name])
    assert len(again) <= budget
    held = list(zip(again.span, again.sequences.key, strict=True))
    assert len(set(held)) == len(held)


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=5), st.integers(0, 20), st.randoms(use_true_random=False)
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_by_recency_the_order_of_the_spans_and_a_repeat_change_nothing(counts, budget, random):
    spans = {number: [2] * count for number, count in enumerate(counts)}
    memory = remembered(budget, spans, recency(1.5))
    shuffled = list(spans.items())
    random.shuffle(shuffled)
    assert_same(remembered(budget, dict(shuffled), recency(1.5)), memory)
    number = random.choice(list(spans))
    assert_same(memory.add(number, sequences(by_label(spans[number])), 1, recency(1.5)), memory)


def test_a_sequence_that_is_a_half_life_older_is_half_as_likely_to_be_kept():
    kept = np.zeros(3)
    for seed in range(150):
        memory = remembered(20, {0: [2] * 400, 3: [2] * 400, 6: [2] * 400}, recency(3.0), seed)
        kept += [(memory.span == span).sum() for span in (0, 3, 6)]
    # 20 of 1200 are so few that drawing without replacement hardly differs from drawing with it.
    np.testing.assert_allclose(kept / kept.sum(), [1 / 7, 2 / 7, 4 / 7], atol=0.03)


def test_without_an_end_of_the_half_life_recency_is_the_reservoir():
    spans = {0: [2] * 30, 1: [2] * 30}
    assert_same(remembered(20, spans, recency(1e12)), remembered(20, spans, reservoir))


@pytest.mark.parametrize("name", ["frequency", "herding"])
def test_items_have_the_shares_of_their_labels(name):
    memory = remembered(30, {0: [2] * 120 + [3] * 60 + [4] * 120}, SELECTIONS[name])
    labels, counts = np.unique(memory.labels, return_counts=True)
    assert labels.tolist() == [2, 3, 4]
    np.testing.assert_allclose(counts, [12, 6, 12], atol=1)


def test_of_many_seldom_items_some_are_kept_by_frequency():
    labels = [2] * 50 + list(range(3, 53))
    kept = remembered(50, {0: labels}, frequency).labels
    assert 15 <= (kept > 2).sum() <= 35


@pytest.mark.parametrize("name", ["frequency", "herding"])
def test_a_repeat_with_the_same_counts_is_kept_as_before_by_frequency(name):
    memory = remembered(10, {0: [2] * 20 + [3] * 20}, SELECTIONS[name])
    assert_same(memory.add(0, sequences(by_label([2] * 20 + [3] * 20)), 1, SELECTIONS[name]), memory)


def test_each_next_choice_brings_the_mean_nearest():
    random = np.random.default_rng(5)
    vectors = random.normal(size=[12, 3])
    rank = herding_rank(vectors, 12)
    assert sorted(rank) == list(range(12))
    order = np.argsort(rank)
    for number in range(12):
        chosen = order[:number]
        distance = [
            np.linalg.norm(vectors.mean(0) - vectors[[*chosen, choice]].mean(0)) for choice in order[number:]
        ]  # fmt: skip
        assert distance[0] == pytest.approx(min(distance))


def test_herding_keeps_the_typical_session():
    model = Speaking(SIZES, HISTORY)
    table = np.zeros([30, 3], np.float32)
    table[5], table[6] = [1, 0, 0], [0, 1, 0]
    model.item.embeddings.assign(table)
    # Twenty sessions about item 5 and one about item 6 lead to item 9.
    rows = [(number, [5, 9], 1) for number in range(10)] + [(10, [6, 9], 1)] + [(n, [5, 9], 1) for n in range(11, 21)]
    memory = ReplayMemory.empty(1).add(0, sequences(rows), 1, herding(representations(model, HISTORY)))
    assert memory.sequences.items.tolist() == [5, 9]


def test_a_session_is_represented_by_what_precedes_its_label():
    model, pool = Speaking(SIZES, HISTORY), ReplayMemory.empty(99)
    pool = pool.add(0, random_sequences(SIZES, 9, seed=2), 1, reservoir)
    represented = representations(model, HISTORY)(pool)
    for place, (begin, end) in enumerate(zip(pool.sequences.splits, pool.sequences.splits[1:], strict=False)):
        before = pool.sequences.items[begin : end - 1][-HISTORY:]
        history = np.concatenate([np.zeros(HISTORY - len(before), np.int64), before])
        np.testing.assert_allclose(represented[place], model.represent(None, history[None])[0], rtol=1e-5)


def test_a_model_without_representations_is_refused_for_herding():
    with pytest.raises(PolicyError, match=r"selection: herding` needs a model.*Received: Small.*Choose `frequency`"):
        representations(Small(SIZES, HISTORY), HISTORY)


@pytest.mark.parametrize("name", SELECTIONS)
def test_every_selection_can_be_found_and_fills_a_smaller_budget(name):
    memory = remembered(40, {0: [2, 3] * 20}, SELECTIONS[name])
    assert len(memory.resized(7, find_selection(name, 2.0))) == 7
