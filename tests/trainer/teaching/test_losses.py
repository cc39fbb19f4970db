"""What teaching adds to a student's loss, by hand, and what it does to the student."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.trainer.small_model import HISTORY, SMALL
from trainer.checks.small_data import held_out, random_sequences
from trainer.keras2 import tf
from trainer.models.base import TableSizes
from trainer.settings import ModelSpec, Policy, TeacherSettings
from trainer.stability.base import NEW
from trainer.teaching.losses import RankedList, SoftTargets, make_teaching
from trainer.teaching.teacher import Teacher
from trainer.training_batches import make_training_batches
from trainer.update import Span, Update, rebuild, update

SIZES = TableSizes(30, 20, 2)
STUDENT = ModelSpec(SMALL, {}, HISTORY)
TEACHER = ModelSpec("sasrec", {"dimension": 8, "neighbours": 0, "dropout": 0.0, "item_dropout": 0.0}, HISTORY)
PLAIN = Policy(epochs=3, batch_size=8, learning_rate=0.3, initial_accumulator=0.1)
SETTINGS = TeacherSettings("sasrec")
SPAN, OTHER = (Span(number, random_sequences(SIZES, 40, seed=number)) for number in (1, 2))


def train(spec: ModelSpec, teacher: Teacher | None = None, settings: TeacherSettings | None = None) -> Update:
    policy = dataclasses.replace(PLAIN, teacher=settings)
    if spec is TEACHER:
        policy = dataclasses.replace(policy, optimizer="adam", learning_rate=0.02, epochs=6)
    return update(spec, SIZES, [SPAN], held_out(SIZES, 0, 0), np.ones(SIZES.items), policy, teacher=teacher)


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher.of_rows(TEACHER, train(TEACHER).state, SIZES)


@pytest.fixture(scope="module")
def alone() -> Update:
    return train(STUDENT)


def separation(settings: TeacherSettings, of_teacher: list, of_student: list, came: int) -> float:
    """Of rows 2, 3 and 4, of which `came` came."""
    stand_in = type("Shares", (), {"shared": tf.constant([2, 3, 4], tf.int64)})()
    teaching = make_teaching(stand_in, settings, weighted=False)
    (value,) = teaching.separation(
        tf.constant([of_teacher]), tf.constant([of_student]), stand_in.shared, tf.constant([came], tf.int64)
    ).numpy()
    return float(value)


def test_soft_targets_are_the_divergence_at_their_temperature():
    settings = dataclasses.replace(SETTINGS, temperature=2.0)
    teacher, student = (np.exp(np.array(scores) / 2) for scores in ([2.0, 0.0, 1.0], [0.0, 0.0, 3.0]))
    teacher, student = teacher / teacher.sum(), student / student.sum()
    expected = 4 * np.sum(teacher * np.log(teacher / student))
    assert separation(settings, [2.0, 0.0, 1.0], [0.0, 0.0, 3.0], 2) == pytest.approx(expected, rel=1e-5)


def test_a_ranked_list_holds_what_stands_too_low_by_its_place():
    settings = dataclasses.replace(SETTINGS, loss="ranking", top_k=2)
    # Row 2 came and is no part of the list: that is row 4, then row 3, where the student has them third and first.
    student = np.array([1.0, 3.0, 0.5])
    log_probs = student - np.log(np.exp(student).sum())
    first, second = np.exp(-np.array([1.0, 2.0]) / 10) / np.exp(-np.array([1.0, 2.0]) / 10).sum()
    expected = -first * np.tanh(0.1 * (3 - 1)) * log_probs[2] - second * np.tanh(0.0) * log_probs[1]
    assert separation(settings, [5.0, 1.0, 4.0], student.tolist(), 2) == pytest.approx(expected, rel=1e-4)


def test_a_student_that_has_the_list_in_order_is_left_alone():
    settings = dataclasses.replace(SETTINGS, loss="ranking", top_k=2)
    assert separation(settings, [3.0, 2.0, 1.0], [9.0, 8.0, -7.0], 4) == pytest.approx(0.0, abs=1e-6)


def recall_of_best(model: object, teacher: Teacher) -> float:
    """How many of the teacher's five best are among the student's five best, on a span that neither has learned."""
    (batch,) = make_training_batches(model, OTHER.sequences, 10**6, HISTORY, seed=1).data
    pair = (
        teacher.score_batch(batch, model.form, teacher.shared),
        model.score_batch(batch, teacher.shared),
    )
    best = [tf.math.top_k(scores, 5).indices.numpy() for scores in pair]
    return float(np.mean([np.isin(row, other).mean() for row, other in zip(*best, strict=True)]))


@pytest.mark.parametrize(
    "settings",
    [
        dataclasses.replace(SETTINGS, weight=5.0),
        dataclasses.replace(SETTINGS, weight=5.0, candidates=8),
        dataclasses.replace(SETTINGS, weight=5.0, loss="ranking", top_k=5),
    ],
    ids=["softmax", "softmax on a few", "ranking"],
)
def test_the_taught_student_is_nearer_to_its_teacher(settings, teacher, alone):
    taught = train(STUDENT, teacher, settings)
    assert recall_of_best(taught.model, teacher) > recall_of_best(alone.model, teacher) + 0.05
    assert train(STUDENT, teacher, settings).train_loss == taught.train_loss  # the same again


def test_without_settings_nobody_teaches(teacher, alone):
    for pair in ((teacher, None), (None, SETTINGS)):
        np.testing.assert_equal(train(STUDENT, *pair).state.weights, alone.state.weights)


def test_items_that_the_teacher_lacks_are_left_out(alone):
    small = TableSizes(12, 20, 2)
    span = Span(1, random_sequences(small, 20, seed=1))
    policy = dataclasses.replace(PLAIN, optimizer="adam", learning_rate=0.02)
    known = update(TEACHER, small, [span], held_out(small, 0, 0), np.ones(12), policy).state
    teaching = make_teaching(Teacher.of_rows(TEACHER, known, SIZES), SETTINGS, weighted=True)
    model = rebuild(STUDENT, alone.state)
    (batch,) = make_training_batches(model, OTHER.sequences, 10**6, HISTORY, seed=1).data
    with tf.GradientTape() as tape:
        loss = teaching.loss(model, {NEW: batch})
    rows = tape.gradient(loss, model.bias).numpy()
    assert loss > 0
    assert rows[2:12].any()
    assert not rows[12:].any()


def test_one_that_shares_no_item_teaches_nothing(alone):
    nothing = TableSizes(2, 20, 2)
    state = update(STUDENT, nothing, [], held_out(SIZES, 0, 0), np.ones(2), PLAIN).state
    teacher, model = Teacher.of_rows(STUDENT, state, SIZES), rebuild(STUDENT, alone.state)
    (batch,) = make_training_batches(model, OTHER.sequences, 10**6, HISTORY, seed=1).data
    for loss in (SoftTargets, RankedList):
        assert float(loss(teacher, SETTINGS, False).loss(model, {NEW: batch})) == 0


def test_an_event_counts_by_its_weight(teacher, alone):
    model = rebuild(STUDENT, alone.state)
    (batch,) = make_training_batches(model, OTHER.sequences, 10**6, HISTORY, seed=1).data
    first = tf.one_hot(0, len(batch["weight"]))
    teaching = make_teaching(teacher, SETTINGS, weighted=True)
    of_first = teaching.loss(model, {NEW: {**batch, "weight": first}})
    single = {name: values[:1] for name, values in batch.items() if name != "sampling_rate"}
    assert float(of_first) == pytest.approx(float(teaching.loss(model, {NEW: single})), rel=1e-4)
