"""Distillation, elastic weight consolidation, partial updates, shrink-and-perturb and averaging, each by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trainer.plain_optimizer import plain_optimizer
from tests.trainer.small_model import HISTORY, Sampled, Small
from trainer.checks.small_data import random_sequences
from trainer.keras2 import tf
from trainer.models.base import TableSizes
from trainer.settings import ShrinkSettings
from trainer.stability.averaging import average
from trainer.stability.base import NEW, REPLAYED, Learner, PolicyError
from trainer.stability.batch_rows import used_rows
from trainer.stability.distillation import Distillation, adaptive_weight
from trainer.stability.ewc import Ewc, fisher_diagonal
from trainer.stability.freezing import frozen, rates
from trainer.stability.shrink_perturb import shrink_perturb
from trainer.train_state import Trainable, named_variables
from trainer.training_batches import make_training_batches

SIZES, OLD = TableSizes(30, 20, 2), TableSizes(20, 10, 2)


def batch(key, item, history) -> dict[str, tf.Tensor]:
    columns = {name: tf.constant(value, tf.int64) for name, value in (("key", key), ("item", item))}
    return {**columns, "history": tf.constant(history, tf.int64), "weight": tf.ones([len(key)])}


BATCH = batch([4, 15], [6, 25], [[0, 0, 0, 0, 7, 6], [0, 0, 0, 0, 0, 29]])


def with_weight(part: Distillation, **batches) -> dict:
    """The batches as the part has mixed its weight in."""
    data = tf.data.Dataset.from_tensors(batches)
    return next(iter(part.mix(data)))


def stream(*batches: dict[str, tf.Tensor]) -> tf.data.Dataset:
    stacked = {name: tf.stack([batch[name] for batch in batches]) for name in batches[0]}
    return tf.data.Dataset.from_tensor_slices(stacked)


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


# Distillation.


def test_the_divergence_from_the_teacher_is_over_old_items_at_the_temperature():
    teacher, student = Small(OLD, HISTORY), Small(SIZES, HISTORY)
    for model in (teacher, student):  # so that their answers differ by more than rounding
        model.item.embeddings.assign(20 * model.item.embeddings)
    part = Distillation(teacher, "new", weight=3.0, temperature=2.0, candidates=2000)
    divergence = float(part.loss(student, with_weight(part, new=BATCH)))
    # The key 15 and the items 25 and 29 are unknown to the teacher: row 1.
    known = teacher.score_all(np.array([4, 1]), np.array([[0, 0, 0, 0, 7, 6], [0, 0, 0, 0, 0, 1]])).numpy()
    wanted = softmax(known[:, 2:20] / 2)
    given = softmax(student.score_all(BATCH["key"], BATCH["history"]).numpy()[:, 2:20] / 2)
    assert divergence == pytest.approx(3.0 * 4 * (wanted * np.log(wanted / given)).sum(axis=1).mean(), rel=1e-4)


def test_a_student_that_agrees_has_nothing_to_learn_from_the_teacher():
    teacher, student = Small(OLD, HISTORY), Small(OLD, HISTORY)
    for path, variable in named_variables(student).items():
        variable.assign(named_variables(teacher)[path])
    part = Distillation(teacher, "both", 1.0, 1.0, 2000)
    both = with_weight(part, new=batch([4], [6], [[0] * 6]), replayed=batch([5], [7], [[0] * 6]))
    assert float(part.loss(student, both)) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("which", "names"), [("new", [NEW]), ("replayed", [REPLAYED]), ("both", [NEW, REPLAYED])])
def test_the_teacher_answers_to_the_batches_that_are_asked_for(which, names):
    teacher, student = Small(OLD, HISTORY), Small(SIZES, HISTORY)
    batches = {NEW: BATCH, REPLAYED: batch([5], [7], [[0, 0, 0, 0, 0, 3]])}

    def loss(on: str, **given) -> float:
        part = Distillation(teacher, on, 1.0, 1.0, 2000)
        return float(part.loss(student, with_weight(part, **given)))

    alone = {name: loss("new", new=batches[name]) for name in batches}
    assert loss(which, **batches) == pytest.approx(sum(alone[name] for name in names), rel=1e-5)


def test_of_a_large_catalogue_drawn_items_and_the_batchs_own_are_compared():
    part = Distillation(Small(OLD, HISTORY), "new", 1.0, 1.0, candidates=5)
    items = part._shared(tf.constant([[6, 25], [0, 8]], tf.int64), OLD).numpy()
    assert {6, 8} <= set(items)
    assert len(items) == len(set(items)) <= 7
    assert items.min() >= 2
    assert items.max() < 20


@pytest.mark.parametrize("form", ["positions", "sequences"])
def test_the_divergence_is_the_mean_by_the_events_weights(form):
    teacher, student = Small(OLD, HISTORY), Small(SIZES, HISTORY)
    part, unweighted = (Distillation(teacher, "new", 1.0, 1.0, 2000, weighted) for weighted in (True, False))
    rows = [{name: column[i : i + 1] for name, column in BATCH.items()} for i in (0, 1)]
    single = [float(unweighted.loss(student, with_weight(unweighted, new=row))) for row in rows]
    given = {**BATCH, "weight": tf.constant([3.0, 1.0])}
    if form == "sequences":  # a position is a step with an item, and what stands beside it counts nothing
        given["item"], given["weight"] = tf.constant([[0, 6], [25, 0]], tf.int64), tf.constant([[9.0, 3], [1, 9]])
    assert float(part.loss(student, with_weight(part, new=given))) == pytest.approx(
        np.average(single, weights=[3, 1]), rel=1e-4
    )
    assert float(unweighted.loss(student, with_weight(unweighted, new=given))) == pytest.approx(
        np.mean(single), rel=1e-4
    )


def test_the_teacher_gets_no_gradient():
    teacher, student = Small(OLD, HISTORY), Small(SIZES, HISTORY)
    part = Distillation(teacher, "new", 1.0, 1.0, 2000)
    with tf.GradientTape() as tape:
        loss = part.loss(student, with_weight(part, new=BATCH))
    held, moved = tape.gradient(loss, [teacher.item.embeddings, student.item.embeddings])
    assert held is None
    assert np.abs(tf.convert_to_tensor(moved)).sum() > 0
    assert not {id(variable) for variable in teacher.variables} & {
        id(variable) for variable in Learner(student, [part]).variables
    }


def test_the_adaptive_weight_follows_old_items_and_exemplars():
    assert adaptive_weight(0.8, 100, 100, 500, 500) == pytest.approx(0.8)
    assert adaptive_weight(0.8, 25, 100, 500, 500) == pytest.approx(0.4)
    assert adaptive_weight(0.8, 100, 100, 500, 2000) == pytest.approx(0.4)
    assert adaptive_weight(0.8, 100, 100, 0, 2000) == 0


# Elastic weight consolidation.


def previous(model: Small) -> dict[str, np.ndarray]:
    rows = {"item/embeddings": 20, "bias": 20, "popularity": 20, "key/embeddings": 10}
    return {path: variable.numpy()[: rows.get(path)] for path, variable in named_variables(model).items()}


def test_the_fisher_information_is_the_mean_square_of_a_positions_gradient():
    model = Small(SIZES, HISTORY)
    variables = named_variables(model)
    positions = [batch([key], [item], [[0, 0, 0, 0, 3, item]]) for key, item in ((4, 6), (5, 7), (15, 25))]
    fisher = fisher_diagonal(model, variables, previous(model), stream(*positions))
    squares = []
    for position in positions:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(position, training=True)
        squares.append(np.square(tape.gradient(loss, model.bias).numpy()))
    np.testing.assert_allclose(fisher["bias"], np.mean(squares, axis=0)[:20], rtol=1e-4, atol=1e-9)
    assert set(fisher) == {path for path, variable in variables.items() if variable.trainable}
    assert {path: information.shape for path, information in fisher.items()} == {
        path: previous(model)[path].shape for path in fisher
    }


def test_a_batch_counts_as_its_positions():
    model = Small(SIZES, HISTORY)
    single = batch([4], [6], [[0, 0, 0, 0, 7, 6]])
    three = {name: tf.repeat(value, 3, axis=0) for name, value in single.items()}
    alone, together = (
        fisher_diagonal(model, named_variables(model), previous(model), stream(it)) for it in (single, three)
    )
    # Gradients that are all the same are not independent: their mean square is three times that of one.
    np.testing.assert_allclose(together["bias"], 3 * alone["bias"], rtol=1e-4)


def test_of_a_table_only_rows_that_were_looked_up_are_held():
    model = Sampled(SIZES, HISTORY)
    used = stream(batch([4, 5], [6, 8], [[7] * 6, [7] * 6]))
    fisher = fisher_diagonal(model, named_variables(model), previous(model), used)
    assert np.flatnonzero(fisher["item/embeddings"].any(axis=1)).tolist() == [6, 7, 8]
    assert np.flatnonzero(fisher["key/embeddings"].any(axis=1)).tolist() == [4, 5]


def test_what_is_counted_while_training_is_put_back():
    class Counting(Small):
        def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
            self.popularity.assign_add(tf.ones_like(self.popularity))
            return super().compute_loss(batch, training)

    model = Counting(SIZES, HISTORY)
    fisher_diagonal(model, named_variables(model), previous(model), stream(BATCH))
    assert not model.popularity.numpy().any()


def test_the_penalty_is_weighed_by_the_fisher_information_on_the_rows_of_the_batch():
    model = Small(SIZES, HISTORY)
    variables = named_variables(model)
    before = {path: value - 1 for path, value in previous(model).items()}
    fisher = {"bias": np.arange(20, dtype=np.float32), "scale/layer-0/bias": np.array([5], np.float32)}
    fisher = {path: value for path, value in fisher.items() if path in variables}
    term = Ewc(model, variables, before, fisher, strength=4.0)
    # Items 6 and 7; item 25 is new, and 6 counts once.
    others = sum(float(value.sum()) for path, value in fisher.items() if path != "bias")
    assert float(term.loss(model, {NEW: BATCH})) == pytest.approx(4.0 / 2 * (6 + 7 + others), rel=1e-4)


def test_gradients_of_the_penalty_on_tables_are_sparse():
    model = Small(SIZES, HISTORY)
    table = model.item.embeddings
    before = {"item/embeddings": table.numpy()[:20] - 1}
    term = Ewc(model, {"item/embeddings": table}, before, {"item/embeddings": np.ones([20, 3], np.float32)}, 2.0)
    with tf.GradientTape() as tape:
        loss = term.loss(model, {NEW: BATCH})
    gradient = tape.gradient(loss, table)
    assert isinstance(gradient, tf.IndexedSlices)
    assert sorted(gradient.indices.numpy()) == [6, 7]
    np.testing.assert_allclose(gradient.values, 2.0, rtol=1e-5)


def test_rows_of_a_sequence_batch_are_counted_for_each_of_its_steps():
    sequence = {
        "key": tf.constant([4, 5], tf.int64),
        "history": tf.constant([[6, 7, 8], [9, 0, 0]], tf.int64),
        "item": tf.constant([[0, 8, 6], [25, 0, 0]], tf.int64),
    }
    rows, share = used_rows(sequence, "items", 20)
    shares = dict(zip(rows.numpy().tolist(), share.numpy().tolist(), strict=True))
    assert shares == pytest.approx({6: 2 / 3, 7: 1 / 3, 8: 2 / 3, 9: 1 / 3})


# Partial updates.


@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
def test_frozen_variables_and_their_slots_do_not_move_and_others_do(optimizer):
    model = Small(SIZES, HISTORY)
    trainable = Trainable(model, plain_optimizer(optimizer, 0.1, clip_norm=1.0))
    held = frozen(trainable.variables, ["item/*", "bias"])
    learner = Learner(model, [], held)
    learner.compile(trainable.optimizer)
    weights, slots = trainable.read()
    data = make_training_batches(model, random_sequences(SIZES, 10, seed=1), 8, HISTORY, seed=1).data
    learner.fit(data.map(lambda examples: {NEW: examples}), verbose=0)
    new_weights, new_slots = trainable.read()
    for path in ("item/embeddings", "bias"):
        np.testing.assert_array_equal(new_weights[path], weights[path])
        np.testing.assert_equal(new_slots[path], slots[path])
    assert (new_weights["key/embeddings"] != weights["key/embeddings"]).any()


def test_a_pattern_crosses_slashes_and_the_last_that_fits_counts():
    variables = named_variables(Small(SIZES, HISTORY))
    by_path = rates(variables, {"*": 0.5, "item*": 0.1})
    assert by_path["item/embeddings"] == 0.1
    assert by_path["key/embeddings"] == 0.5
    assert "popularity" not in by_path, "it is not trained"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda of: frozen(of, ["items/*"]), r"freeze` must match variables.*item/embeddings.*Received: 'items/\*'"),
        (lambda of: frozen(of, ["*"]), r"must leave a variable to be trained"),
        (lambda of: rates(of, {"popularity": 0.5}), r"partial\.rates` must match.*Received: 'popularity'"),
    ],
)
def test_patterns_that_fit_nothing_or_everything_are_refused(call, message):
    with pytest.raises(PolicyError, match=message):
        call(named_variables(Small(SIZES, HISTORY)))


# Shrink and perturb, and averaging.


def test_weights_are_shrunk_and_get_noise_and_rows_without_an_id_none():
    trainable = Trainable(Small(SIZES, HISTORY), plain_optimizer("adagrad", 0.1))
    weights, slots = trainable.read()
    shrink_perturb(trainable, ShrinkSettings(0.5, 0.1, ("item/*",)), seed=1)
    now = trainable.read()
    added = now[0]["item/embeddings"] - 0.5 * weights["item/embeddings"]
    np.testing.assert_allclose(added[:2], 0.0, atol=1e-7)
    assert np.std(added[2:]) == pytest.approx(0.1, rel=0.25)
    np.testing.assert_array_equal(now[0]["bias"], weights["bias"])
    np.testing.assert_equal(now[1], slots)


def test_kept_weights_lie_between_the_old_and_the_new_but_for_new_rows():
    trainable = Trainable(Small(SIZES, HISTORY), plain_optimizer("adagrad", 0.1))
    before = {path: np.zeros_like(value) for path, value in trainable.read()[0].items()}
    trainable.write({path: np.ones_like(value) for path, value in before.items()}, {})
    average(trainable, before, OLD, share=0.75)
    now = trainable.read()[0]
    np.testing.assert_array_equal(now["item/embeddings"][:20], 0.75)
    np.testing.assert_array_equal(now["item/embeddings"][20:], 1.0)
    np.testing.assert_array_equal(now["key/embeddings"][:10], 0.75)
    np.testing.assert_array_equal(now["popularity"], 1.0)
