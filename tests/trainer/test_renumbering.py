"""Where ids have left, a model goes on as if it had never had their rows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.trainer.policy_runs import POLICIES
from trainer.checks.policy_case import day
from trainer.checks.recommender_case import spec_of
from trainer.input_pipeline import Sequences
from trainer.keras2 import tf
from trainer.models.base import TableSizes
from trainer.renumbering import renumbered
from trainer.row_numbers import PLAIN, Numbering, RowNumbers
from trainer.stability.replay_memory import ReplayMemory
from trainer.teaching.teacher import Teacher
from trainer.train_state import ModelState, StateError
from trainer.update import Span, Update, rebuild, update

# Of the items 2 to 11 and the keys 2 to 7 of the first day some have left on the second, on which others came.
LEFT = TableSizes(
    12, 9, 2, numbering=Numbering(RowNumbers(2, np.r_[2, 4:8, 9:12, 12, 13]), RowNumbers(2, np.r_[3:8, 8, 9]))
)
EVERY = ["all together", "sequences, all together"]


def case(name: str) -> tuple:
    of = POLICIES[name]
    return of, spec_of(of.model, of.params)


def go_on(name: str, sizes: TableSizes, sequences: Sequences, state: ModelState, memory: ReplayMemory) -> Update:
    of, spec = case(name)
    nobody = Sequences.empty().positions()
    return update(spec, sizes, [Span(1, sequences)], nobody, np.ones(sizes.items), of.policy, base=state, memory=memory)


@pytest.mark.parametrize("name", EVERY)
def test_who_stays_is_scored_as_before_and_who_left_is_unknown(name):
    of, spec = case(name)
    before = of.first
    model = rebuild(spec, before.state)
    state = renumbered(before.state, LEFT.numbering, model)
    assert (state.sizes.items, state.sizes.keys) == (10, 7)
    after = rebuild(spec, state)
    items, keys = np.r_[0:3, 4:8, 9:12], np.r_[0:2, 3:8]  # rows of the first day that are left
    history = np.array([[0, 2, 4, 2, 5, 3], [0, 0, 0, 0, 0, 6]])
    asked = [tf.constant(of_key, tf.int64) for of_key in ([2, 5], history)]
    then = [tf.constant(keys[of_key], tf.int64) for of_key in ([2, 5],)] + [tf.constant(items[history], tf.int64)]
    popular = np.ones(12)
    model.set_popularity(popular), after.set_popularity(popular[items])
    every = model.score_all(*then).numpy()
    np.testing.assert_allclose(after.score_all(*asked).numpy()[:, 2:], every[:, items[2:]], rtol=2e-5, atol=2e-5)
    for path, slots in state.slots.items():
        for slot, value in slots.items():
            whole = before.state.slots[path][slot]
            kept = {12: items, 8: keys}.get(len(whole) if whole.ndim else 0)
            assert value.tobytes() == (whole if kept is None else whole[kept]).tobytes(), (path, slot)


@pytest.mark.parametrize("name", EVERY)
def test_the_next_update_is_that_of_a_root_which_never_had_them(name):
    of, spec = case(name)
    first = of.first
    plain = dataclasses.replace(LEFT, numbering=PLAIN)
    written = day(1)  # numbers, as the second day's files have them
    sequences = written.in_rows(LEFT.numbering)
    state = renumbered(first.state, LEFT.numbering, rebuild(spec, first.state))
    state = dataclasses.replace(state, sizes=dataclasses.replace(state.sizes, numbering=PLAIN))
    moved = dataclasses.replace(first.memory, sequences=first.memory.sequences.in_rows(LEFT.numbering))
    ours = go_on(name, LEFT, sequences, first.state, first.memory)
    other = go_on(name, plain, sequences, state, moved)
    for path, value in other.state.weights.items():
        assert ours.state.weights[path].tobytes() == value.tobytes(), path
    assert ours.memory.sequences.items.tolist() == other.memory.sequences.items.tolist()
    assert ours.state.sizes.numbering == LEFT.numbering


def test_neighbours_that_left_are_none(tmp_path):
    _, spec = case("sequences")
    state = POLICIES["sequences"].first.state
    after = renumbered(state, LEFT.numbering, rebuild(spec, state))
    items = np.r_[0:3, 4:8, 9:12]
    for counted in ("together", "following"):
        rows, strengths = (f"transitions/{counted}/{name}" for name in ("rows", "weights_"))
        for row, old_row in enumerate(items):

            def named(of: ModelState, at: int, name: np.ndarray) -> dict[int, float]:
                pairs = zip(of.weights[rows][at], of.weights[strengths][at], strict=True)  # noqa: B023
                return {int(name[neighbour]): float(weight) for neighbour, weight in pairs if weight > 0}

            whole = named(state, old_row, np.arange(12))
            assert named(after, row, items) == {item: of for item, of in whole.items() if item in items}


def test_a_state_and_a_memory_say_which_ids_their_rows_are_of(tmp_path):
    of, _ = case("replay")
    result = go_on("replay", LEFT, day(1).in_rows(LEFT.numbering), of.first.state, of.first.memory)
    result.state.save(tmp_path)
    result.memory.save(tmp_path / "memory.npz")
    for numbering in (ModelState.load(tmp_path).sizes.numbering, ReplayMemory.load(tmp_path / "memory.npz").numbering):
        assert numbering.items.numbers.tolist() == LEFT.numbering.items.numbers.tolist()
        assert numbering.keys.numbers.tolist() == LEFT.numbering.keys.numbers.tolist()


def test_a_teacher_of_before_is_asked_for_what_both_have():
    of, spec = case("plain")
    teacher = Teacher.of_rows(spec, of.first.state, LEFT)
    assert teacher.shared.numpy().tolist() == list(range(2, 10))  # the two that came since it has never met
    batch = {"key": tf.constant([1, 4], tf.int64), "history": tf.constant([[0, 3], [2, 9]], tf.int64)}
    batch["item"] = tf.constant([2, 3], tf.int64)
    scores = teacher.score_batch(batch, "positions", teacher.shared).numpy()
    model = rebuild(spec, of.first.state)
    then = model.score_all(tf.constant([1, 5], tf.int64), tf.constant([[0, 4], [2, 11]], tf.int64)).numpy()
    np.testing.assert_allclose(scores, then[:, np.r_[2, 4:8, 9:12]], rtol=1e-5)


def test_a_model_of_another_root_is_refused():
    of, spec = case("plain")
    other = dataclasses.replace(
        of.first.state.sizes, numbering=Numbering(RowNumbers(2, np.arange(4, 14)), RowNumbers(2, np.arange(2, 8)))
    )
    state = dataclasses.replace(of.first.state, sizes=other)
    with pytest.raises(StateError, match="same root"):
        renumbered(state, LEFT.numbering, rebuild(spec, of.first.state))
