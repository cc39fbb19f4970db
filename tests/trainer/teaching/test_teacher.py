"""Who teaches: any model, asked in the rows of its student."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tests.trainer.small_model import HISTORY, SMALL
from trainer.checks.small_data import held_out, random_sequences
from trainer.keras2 import tf
from trainer.models.base import TableSizes
from trainer.sequence_windows import Windows
from trainer.settings import ModelSpec, Policy
from trainer.teaching.teacher import Teacher
from trainer.train_state import ModelState, StateError
from trainer.update import Span, rebuild, update
from trainer.vocabulary import Vocabulary

SIZES, FEWER = TableSizes(14, 8, 2), TableSizes(11, 6, 2)
SPECS = {
    "positions": ModelSpec(SMALL, {}, HISTORY),
    "sequences": ModelSpec("sasrec", {"dimension": 4, "neighbours": 0}, HISTORY),
}


def learned(form: str, sizes: TableSizes = FEWER) -> ModelState:
    span = Span(1, random_sequences(sizes, 12, seed=3))
    policy = Policy(epochs=1, batch_size=16)
    return update(SPECS[form], sizes, [span], held_out(sizes, 0, 0), np.ones(sizes.items), policy).state


STATES = {form: learned(form) for form in SPECS}


def by_place(rows: np.ndarray) -> np.ndarray:
    return rows[np.lexsort(np.round(rows, 3).T)]


@pytest.mark.parametrize("own", SPECS)
def test_any_form_teaches_any_other(own):
    """What it says of a position is the same in whatever form the student learns."""
    teacher = Teacher.of_rows(SPECS[own], STATES[own], SIZES)
    assert teacher.shared.numpy().tolist() == list(range(2, FEWER.items))
    span = random_sequences(SIZES, 9, seed=4)
    some = span.positions()
    (positions,) = some.take(np.flatnonzero(some.end > some.begin)).dataset(10**6, HISTORY)
    (steps,) = Windows.of(span, HISTORY).dataset(10**6, shuffle_seed=1)
    of_positions = teacher.score_batch(positions, "positions", teacher.shared).numpy()
    of_steps = teacher.score_batch(steps, "sequences", teacher.shared).numpy()
    assert of_positions.shape == (len(positions["item"]), len(teacher.shared))
    np.testing.assert_allclose(by_place(of_positions), by_place(of_steps), atol=1e-4)

    model = rebuild(SPECS[own], STATES[own])
    key, history = model.known(positions["key"], FEWER.keys), model.known(positions["history"], FEWER.items)
    expected = model.score_all(key, history).numpy()[:, 2:]
    if own == "positions":
        np.testing.assert_allclose(of_positions, expected, atol=1e-4)


def vocabulary(*ids: bytes) -> Vocabulary:
    return Vocabulary.empty(1).grow(pa.array(ids, pa.binary()), 1, 1, 7.0)


def test_over_vocabularies_of_their_own_items_are_the_same_by_their_ids():
    own = [b"x%d" % number for number in range(9)]
    of_student = [b"other", *own[::-1], b"newer"]
    keys = [b"u%d" % number for number in range(4)]
    teacher = Teacher.of_ids(
        SPECS["positions"], STATES["positions"], (vocabulary(*own), vocabulary(*keys)),
        (vocabulary(*of_student), vocabulary(*keys)),
    )  # fmt: skip
    assert teacher.shared.numpy().tolist() == [2 + place for place, name in enumerate(of_student) if name in own]
    model = rebuild(SPECS["positions"], STATES["positions"])
    asked = {"key": [3], "history": [[0, 0, 0, 2, 5, 12]], "item": [6]}
    batch = {name: tf.constant(values, tf.int64) for name, values in asked.items()}
    # "other" and "newer" are unknown to it, row 5 of the student is x6.
    history = tf.constant([[0, 0, 0, 1, 2 + own.index(b"x6"), 1]], tf.int64)
    rows = tf.constant([2 + own.index(of_student[row - 2]) for row in teacher.shared.numpy()], tf.int64)
    expected = tf.gather(model.score_all(batch["key"], history), rows, axis=1)
    np.testing.assert_allclose(teacher.score_batch(batch, "positions", teacher.shared), expected, rtol=1e-5)


def test_rows_that_mean_something_else_are_refused():
    with pytest.raises(StateError, match=r"as many out-of-vocabulary rows\. Received: 1 and 3\."):
        Teacher.of_rows(SPECS["positions"], STATES["positions"], TableSizes(14, 8, 4))
