"""Augmentation changes what windows read, never what truly came next; only what is said loses its loss."""

from __future__ import annotations

import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.checks.small_data import held_out, random_sequences, sequences
from trainer.input_pipeline import Sequences
from trainer.keras2 import tf
from trainer.models import build_model
from trainer.models.base import TableSizes
from trainer.models.reversed_windows import reversed_windows
from trainer.sequence_augmentation import SequenceAugmentation, similar_items
from trainer.sequence_windows import Windows
from trainer.settings import Augmentation, ModelSpec, Policy
from trainer.stability.base import PolicyError
from trainer.training_batches import make_training_batches
from trainer.update import Span, update

LENGTH, FIRST_ROW, MASK = 8, 2, 1
# Every event another item, so that a row says which event it is: key * 100 + place.
ITEMS = 700
EVERY = {"crop": 0.5, "mask": 0.5, "reorder": 0.8, "substitute": 0.5}


@st.composite
def spans(draw: st.DrawFn) -> Sequences:
    rows = []
    for number in range(1, draw(st.integers(1, 6)) + 1):
        length = draw(st.integers(2, 14))
        rows.append((number, [100 * number + place for place in range(length)], draw(st.integers(0, length - 1))))
    return sequences(rows)


def augmented(span: Sequences, how: Augmentation, seed: int) -> list[dict[str, np.ndarray]]:
    change = SequenceAugmentation(how, span, ITEMS, FIRST_ROW)
    data = Windows.of(span, LENGTH).dataset(4, seed, change)
    return [{name: values.numpy() for name, values in batch.items()} for batch in data]


def learned(batches: list[dict[str, np.ndarray]]) -> list[tuple[int, int]]:
    """(the true input, the target) of each step that counts."""
    return [
        (int(batch["events"][at]), int(batch["item"][at]))
        for batch in batches
        for at in zip(*np.nonzero(batch["item"]), strict=True)
    ]


@settings(max_examples=12, deadline=None)
@given(spans(), st.sampled_from(list(EVERY)), st.integers(0, 3))
def test_what_is_to_be_predicted_is_what_came_next(span: Sequences, operation: str, seed: int) -> None:
    whole = {
        (int(batch["history"].numpy()[at]), int(batch["item"].numpy()[at]))
        for batch in Windows.of(span, LENGTH).dataset(4, seed)
        for at in zip(*np.nonzero(batch["item"].numpy()), strict=True)
    }
    batches = augmented(span, Augmentation(**{operation: EVERY[operation]}), seed)
    pairs = learned(batches)
    assert len(set(pairs)) == len(pairs)
    assert set(pairs) <= whole
    assert (set(pairs) == whole) or operation in ("crop", "reorder"), "these alone take a loss away"
    for batch in batches:
        events, history, item = batch["events"], batch["history"], batch["item"]
        assert (history[:, 0] > 0).all()
        assert ((history > 0) == (events > 0)).all()
        assert (item > 0).any(axis=1).all(), "no window teaches nothing"
        assert ((batch["weight"] > 0) == (item > 0)).all()
        inputs = (events > 0).sum(axis=1)
        if operation == "mask":
            assert ((history == events) | (history == MASK)).all()
        elif operation == "crop":
            assert (history == events).all()
        elif operation == "substitute":
            assert (history[history != events] >= FIRST_ROW).all()
        else:
            assert (np.sort(history, axis=1) == np.sort(events, axis=1)).all()
            assert (item[np.arange(len(item)), inputs - 1] > 0).all()
        for row in range(len(events)):
            for step in np.flatnonzero(item[row]):
                assert item[row, step] not in history[row, : step + 1] or operation == "substitute", "given away"
                assert item[row, step] != history[row, step]


@pytest.mark.parametrize("operation", EVERY)
def test_each_operation_changes_something_as_much_as_is_said(operation: str) -> None:
    rows = [(key, [FIRST_ROW + (7 * key + 3 * place) % 60 for place in range(LENGTH + 1)], 1) for key in range(200)]
    span = sequences(rows)
    for share in (0.25, 1.0):
        changed = kept = 0
        for batch in augmented(span, Augmentation(share=share, **{operation: EVERY[operation]}), 1):
            different = batch["history"] != batch["events"]
            changed += int(different.any(axis=1).sum())
            changed += int((batch["events"].astype(bool).sum(axis=1) < LENGTH).sum())
            kept += int((batch["item"] > 0).sum())
        assert changed == pytest.approx(200 * share, rel=0.25)
        if operation == "crop" and share == 1.0:
            assert kept == 200 * LENGTH // 2
        if operation == "reorder" and share == 1.0:
            assert kept == 200 * (LENGTH - 5), "of six shuffled inputs the last keeps its loss"


def test_the_same_seed_augments_alike_and_each_epoch_another_way() -> None:
    span = random_sequences(TableSizes(30, 9, FIRST_ROW), 40, seed=2)
    change = SequenceAugmentation(Augmentation(**EVERY), span, 30, FIRST_ROW)
    histories = []
    for _ in range(2):
        data = Windows.of(span, LENGTH).dataset(64, 5, change)
        histories.append([np.concatenate([batch["history"].numpy().ravel() for batch in data]) for _ in range(2)])
    (first, second), (again, _) = histories
    assert first.tolist() == again.tolist()
    assert first.tolist() != second.tolist()


def test_similar_items_are_those_of_the_highest_cosine_and_never_the_item_itself() -> None:
    span = sequences([(0, [2, 3], 0), (1, [2, 3, 4], 0), (2, [4, 5, 1], 0), (3, [6], 0), (4, [4], 0)])
    similar = similar_items(span, 8, FIRST_ROW)
    assert similar[2].tolist() == [3, 4] * 5
    assert set(similar[4].tolist()) == {2, 3, 5}
    assert similar[4, 0] == 5, "1 of sqrt(3) before 1 of sqrt(6)"
    assert not similar[[0, 1, 6, 7]].any()


def test_read_from_the_end_a_window_predicts_what_truly_came_before() -> None:
    history, events = tf.constant([[9, 1, 7, 0]], tf.int64), tf.constant([[5, 6, 7, 0]], tf.int64)
    item, weight = tf.constant([[6, 0, 8, 0]], tf.int64), tf.constant([[1.0, 0.0, 2.0, 0.0]])
    inputs, target, weights = reversed_windows(history, item, weight, events)
    assert inputs.numpy().tolist() == [[8, 7, 1, 0]]
    assert target.numpy().tolist() == [[7, 0, 5, 0]]
    assert weights.numpy().tolist() == [[2.0, 0.0, 1.0, 0.0]]


SIZES = TableSizes(12, 9, FIRST_ROW)


def test_an_update_learns_otherwise_with_it_the_same_for_the_same_seed() -> None:
    spec = ModelSpec("sasrec", {"dimension": 4, "neighbours": 0}, 6)
    span, watched = Span(1, random_sequences(SIZES, 30, seed=3)), held_out(SIZES, 5, seed=4)
    weights = []
    for how in (None, Augmentation(**EVERY), Augmentation(**EVERY)):
        policy = Policy(epochs=1, batch_size=16, optimizer="adam", augmentation=how)
        weights.append(update(spec, SIZES, [span], watched, np.ones(SIZES.items), policy).state.weights)
    plain, first, again = (state["item_embedding/embeddings"] for state in weights)
    assert np.abs(first - plain).max() > 1e-3
    np.testing.assert_allclose(first, again, atol=1e-5)


def test_it_is_refused_for_a_model_over_positions_and_without_an_operation() -> None:
    model, span = build_model("two_tower", SIZES, 6, {}), random_sequences(SIZES, 5, seed=3)
    with pytest.raises(PolicyError, match=r"`update.augmentation` has an effect with models over sequences only.*TwoT"):
        make_training_batches(model, span, 8, 6, 1, Augmentation(mask=0.1))
    with pytest.raises(pydantic.ValidationError, match="must have an operation"):
        Augmentation(share=0.5)
