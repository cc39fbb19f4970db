"""Replay memory and proximal term: what each part keeps, and what it costs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.small_model import HISTORY, SMALL, Small
from trainer.checks.small_data import held_out, random_sequences, sequences
from trainer.early_stopping import held_out_loss
from trainer.keras2 import tf
from trainer.models.base import TableSizes
from trainer.settings import ModelSpec, Policy, ProximalSettings, ReplaySettings, Stability
from trainer.stability.base import REPLAYED, Learner
from trainer.stability.proximal import Proximal
from trainer.stability.replay import Replay
from trainer.stability.replay_memory import MemoryFileError, ReplayMemory
from trainer.stability.selection import reservoir
from trainer.train_state import named_variables
from trainer.update import Span, Update, update

SIZES = TableSizes(30, 20, 2)
SPEC = ModelSpec(SMALL, {}, HISTORY)
NOTHING = held_out(SIZES, 0, seed=0)


def remembered(budget: int, spans: dict[int, int], seed: int = 1) -> ReplayMemory:
    """The memory after spans of so many sequences each; a sequence's key tells which it is."""
    memory = ReplayMemory.empty(budget)
    for span, count in spans.items():
        memory = memory.add(span, sequences([(100 * span + i, [2, 3], 1) for i in range(count)]), seed, reservoir)
    return memory


def assert_same(left: ReplayMemory, other: ReplayMemory) -> None:
    np.testing.assert_equal(dataclasses.asdict(left), dataclasses.asdict(other))


def train(spans: list[Span], policy: Policy, before: Update | None = None) -> Update:
    base, memory = (None, None) if before is None else (before.state, before.memory)
    return update(SPEC, SIZES, spans, NOTHING, np.ones(SIZES.items), policy, base=base, memory=memory)


def policy(**parts) -> Policy:
    return Policy(epochs=3, batch_size=8, learning_rate=0.1, initial_accumulator=0.1, stability=Stability(**parts))


# The memory.


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=5),
    st.integers(0, 20),
    st.integers(0, 2**32),
    st.randoms(use_true_random=False),
)
@settings(max_examples=50)
def test_the_memory_is_full_whatever_the_order_of_the_spans_and_a_repeat_changes_nothing(counts, budget, seed, random):
    spans = dict(enumerate(counts))
    memory = remembered(budget, spans, seed)
    assert len(memory) == min(budget, sum(counts))
    shuffled = list(spans.items())
    random.shuffle(shuffled)
    assert_same(remembered(budget, dict(shuffled), seed), memory)
    again = random.choice(list(spans))
    repeated = sequences([(100 * again + i, [2, 3], 1) for i in range(spans[again])])
    assert_same(memory.add(again, repeated, seed, reservoir), memory)


def test_every_sequence_of_every_span_is_as_likely_to_be_kept():
    kept = np.zeros(40)
    for seed in range(600):
        memory = remembered(10, {0: 5, 1: 25, 2: 10}, seed)
        place = {0: 0, 1: 5, 2: 30}
        kept[[place[int(key) // 100] + int(key) % 100 for key in memory.sequences.key]] += 1
    # 150 expected each; four standard deviations of a binomial of 600 draws with probability 1/4.
    assert np.abs(kept - 150).max() < 4 * np.sqrt(600 * 0.25 * 0.75)


def test_a_changed_delivery_of_a_span_replaces_the_old_one():
    memory = remembered(100, {3: 10, 4: 10}).add(3, sequences([(777, [2, 3, 4], 0)]), 1, reservoir)
    assert memory.sequences.key[memory.span == 3].tolist() == [777]
    assert (memory.span == 4).sum() == 10


def test_a_smaller_budget_keeps_what_it_would_always_have_kept():
    assert_same(remembered(12, {0: 20, 1: 20}).resized(5, reservoir), remembered(5, {0: 20, 1: 20}))


def test_only_earlier_spans_are_replayed():
    assert set(remembered(50, {1: 5, 2: 5, 3: 5}).before(3).key // 100) == {1, 2}


def test_a_saved_memory_is_the_same_and_nothing_lies_beside_it(tmp_path):
    memory = remembered(7, {1: 5, 2: 9})
    memory.save(tmp_path / "memory.npz")
    assert_same(ReplayMemory.load(tmp_path / "memory.npz"), memory)
    assert [path.name for path in tmp_path.iterdir()] == ["memory.npz"]


def test_a_file_that_is_cut_off_or_missing_is_refused_with_advice(tmp_path):
    path = tmp_path / "memory.npz"
    with pytest.raises(MemoryFileError, match=r"must be a file written by warmspan.*replay\.budget"):
        ReplayMemory.load(path)
    remembered(7, {1: 5}).save(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(MemoryFileError, match="must be a file written by warmspan"):
        ReplayMemory.load(path)


def test_a_memory_of_other_tables_is_refused():
    memory = ReplayMemory.empty(5).add(0, sequences([(3, [2, SIZES.items], 0)]), 1, reservoir)
    spans = [Span(1, random_sequences(SIZES, 5, seed=1))]
    with pytest.raises(MemoryFileError, match="rows up to 30 of items"):
        update(SPEC, SIZES, spans, NOTHING, np.ones(SIZES.items), policy(), memory=memory)


# Replay.


@pytest.fixture(scope="module")
def two_spans() -> list[Span]:
    """A first span of the one half of the items, a second of the other."""
    random = np.random.default_rng(3)
    halves = [
        [(int(random.integers(2, 20)), random.integers(low, low + 14, 5).tolist(), 0) for _ in range(40)]
        for low in (2, 16)
    ]
    return [Span(number, sequences(half)) for number, half in enumerate(halves)]


def test_with_replay_the_first_span_is_forgotten_less(two_spans):
    losses = {}
    for name, budget in (("without", 0), ("with", 100)):
        how = policy(replay=ReplaySettings(budget, fraction=1.0, weight=1.0))
        second = train(two_spans[1:], how, train(two_spans[:1], how))
        losses[name] = held_out_loss(second.model, two_spans[0].sequences.positions(), HISTORY)
    assert losses["with"] < losses["without"] - 0.1


def test_replayed_positions_are_counted_and_a_first_span_has_none(two_spans):
    how = policy(replay=ReplaySettings(budget=10, fraction=0.5))
    first = train(two_spans[:1], how)
    assert first.examples == 3 * 200
    assert len(first.memory) == 10
    # 25 steps of 8 new positions, each with 4 old ones, three times over.
    assert train(two_spans[1:], how, first).examples == 3 * (200 + 25 * 4)


def test_a_weight_of_nothing_changes_nothing(two_spans):
    how = policy(replay=ReplaySettings(budget=10, weight=0.0))
    first = train(two_spans[:1], how)
    with_replay, without = train(two_spans[1:], how, first), train(two_spans[1:], policy(), first)
    for path, value in without.state.weights.items():
        np.testing.assert_allclose(with_replay.state.weights[path], value, rtol=1e-5, atol=1e-6)


def test_a_weight_of_nothing_costs_no_pass():
    asked: list[str] = []

    class Asked(Small):
        def compute_loss(self, batch, training=False):
            asked.append("loss")
            return super().compute_loss(batch, training)

    part = Replay(tf.data.Dataset.range(1), 4, weight=0.0)
    assert float(part.loss(Asked(SIZES, HISTORY), {REPLAYED: batch([4], [6], [[0] * 6])})) == 0
    assert asked == []


def test_owed_spans_enter_the_memory_one_after_the_other(two_spans):
    how = policy(replay=ReplaySettings(budget=60))
    together = train(two_spans, how).memory
    assert_same(together, train(two_spans[1:], how, train(two_spans[:1], how)).memory)
    assert set(together.span) == {0, 1}


def test_without_replay_the_memory_stays_empty(two_spans):
    assert len(train(two_spans, policy()).memory) == 0


# The proximal term.


def batch(key, item, history) -> dict[str, tf.Tensor]:
    columns = {name: tf.constant(value, tf.int64) for name, value in (("key", key), ("item", item))}
    return {**columns, "history": tf.constant(history, tf.int64), "weight": tf.ones([len(key)])}


@pytest.fixture
def moved() -> tuple[Small, dict[str, np.ndarray]]:
    """A model, and the weights of one of smaller tables that lie 1 below its own everywhere."""
    model = Small(SIZES, HISTORY)
    weights = {path: variable.numpy() - 1 for path, variable in named_variables(model).items()}
    rows = {"item/embeddings": 20, "bias": 20, "popularity": 20, "key/embeddings": 10}
    return model, {path: value[: rows.get(path)] for path, value in weights.items()}


def test_the_pull_is_on_what_each_position_uses_and_old_rows_alone(moved):
    model, previous = moved
    term = Proximal(model, named_variables(model), previous, strength=2.0)
    # Rows of 3, biases of 1; the new item 25, the new key 15 and the padding are free.
    used = {"new": batch([4, 15], [6, 25], [[0, 0, 0, 0, 7, 6], [0, 0, 0, 0, 0, 19]])}
    items, keys, others = 4 * (3 + 1), 1 * 3, 2
    assert float(term.loss(model, used)) == pytest.approx((items + keys) / 2 + others, rel=1e-5)


def test_gradients_of_tables_stay_sparse(moved):
    model, previous = moved
    table = model.item.embeddings
    with tf.GradientTape() as tape:
        loss = Proximal(model, {"item/embeddings": table}, previous, 1.0).loss(
            model, {"new": batch([4], [6], [[0, 0, 0, 0, 7, 6]])}
        )
    gradient = tape.gradient(loss, table)
    assert isinstance(gradient, tf.IndexedSlices)
    assert sorted(gradient.indices.numpy()) == [6, 7]


def test_a_strong_pull_keeps_the_model_where_it_was_and_lets_new_rows_go(two_spans):
    first = train(two_spans[:1], policy())
    free = train(two_spans[1:], policy(), first)
    held = train(two_spans[1:], policy(proximal=ProximalSettings(strength=100.0)), first)

    def far(result: Update) -> float:
        moved = result.state.weights["item/embeddings"] - first.state.weights["item/embeddings"]
        return float(np.abs(moved).sum())

    assert far(held) < 0.5 * far(free)


def test_a_cold_start_has_nothing_to_be_pulled_to(two_spans):
    with_term = train(two_spans[:1], policy(proximal=ProximalSettings(strength=100.0)))
    np.testing.assert_equal(with_term.state.weights, train(two_spans[:1], policy()).state.weights)


def test_parts_add_up(moved):
    model, previous = moved
    batches = {"new": batch([4], [6], [[0, 0, 0, 0, 7, 6]])}
    loss_terms = [Proximal(model, named_variables(model), previous, strength) for strength in (1.0, 3.0)]
    alone = float(model.compute_loss(batches["new"], training=True))
    added = sum(float(loss_term.loss(model, batches)) for loss_term in loss_terms)
    assert float(Learner(model, loss_terms).compute_loss(batches, training=True)) == pytest.approx(
        alone + added, rel=1e-5
    )
