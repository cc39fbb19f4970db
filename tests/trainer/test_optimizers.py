"""Steps that cost the rows of the batch: nothing else is read, written or built."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.plain_optimizer import plain_optimizer
from tests.trainer.small_model import HISTORY, Small
from trainer.keras2 import keras, tf
from trainer.models.base import TableSizes
from trainer.optimizers import STEPS, Adagrad, LazyAdam, with_steps
from trainer.train_state import Trainable

ROWS, WIDTH = 777, 3
OPTIMIZERS = ("adam", "adagrad")


def sparse(values: np.ndarray, rows: list[int]) -> tf.IndexedSlices:
    return tf.IndexedSlices(tf.constant(values, tf.float32), tf.constant(rows, tf.int64), [ROWS, WIDTH])


def table(seed: int = 0) -> tf.Variable:
    return tf.Variable(np.random.default_rng(seed).normal(size=[ROWS, WIDTH]).astype(np.float32))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rows_without_a_gradient_keep_every_bit_of_weights_and_slots(name):
    weights, optimizer = table(), plain_optimizer(name, 0.1, clip_norm=10.0)
    optimizer.build([weights])
    slots = optimizer.variables[1:]
    for slot in slots:
        slot.assign(slot + np.random.default_rng(1).random(slot.shape).astype(np.float32))
    before = [variable.numpy() for variable in (weights, *slots)]
    optimizer.apply_gradients([(sparse(np.ones([2, WIDTH]), [5, 5]), weights)])
    others = np.arange(ROWS) != 5
    for old, now in zip(before, (weights, *slots), strict=True):
        np.testing.assert_array_equal(now.numpy()[others], old[others])
        assert (now.numpy()[5] != old[5]).all()


@given(st.integers(0, 2**31), st.integers(1, 6))
@settings(max_examples=10, deadline=None)
def test_with_a_gradient_for_every_row_it_is_adam(seed, steps):
    random = np.random.default_rng(seed)
    lazy, plain = table(), table()
    ours, kerass = LazyAdam(0.05, global_clipnorm=2.0), keras.optimizers.Adam(0.05, global_clipnorm=2.0)
    for _ in range(steps):
        gradient = sparse(random.normal(size=[ROWS, WIDTH]), random.permutation(ROWS).tolist())
        ours.apply_gradients([(gradient, lazy)])
        kerass.apply_gradients([(gradient, plain)])
    np.testing.assert_allclose(lazy.numpy(), plain.numpy(), rtol=1e-4, atol=1e-5)
    *own_variables, made = ours.variables
    for own_variable, other in zip(own_variables, kerass.variables, strict=True):
        np.testing.assert_allclose(own_variable.numpy(), other.numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(made.numpy(), np.full(ROWS, steps))


def adam_by_hand(weight: np.ndarray, gradients: list[np.ndarray], rate: float) -> np.ndarray:
    """Algorithm 1 of Kingma and Ba, in float64."""
    m = v = np.zeros(len(weight))
    for step, gradient in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * np.square(gradient)
        weight = weight - rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-7)
    return weight


@given(st.lists(st.sets(st.integers(0, 5), min_size=1), min_size=1, max_size=6), st.booleans())
@settings(max_examples=10, deadline=None)
def test_a_row_moves_as_if_it_had_an_adam_of_its_own(batches, dense):
    """Whenever it comes, and whichever others do."""
    random = np.random.default_rng(len(batches))
    weights, optimizer = table(), LazyAdam(0.05)
    optimizer.build([weights])
    optimizer.iterations.assign(400)  # with others, before any of these comes
    own: dict[int, list[np.ndarray]] = {row: [] for row in range(6)}
    for batch in batches:
        rows, values = sorted(batch), random.normal(size=[len(batch), WIDTH])
        gradient = sparse(values, rows)
        optimizer.apply_gradients([(tf.convert_to_tensor(gradient) if dense else gradient, weights)])
        for row in own:
            if dense or row in batch:
                own[row].append(values[rows.index(row)] if row in batch else np.zeros(WIDTH))
    for row, gradients in own.items():
        expected = adam_by_hand(table().numpy()[row], gradients, 0.05)
        np.testing.assert_allclose(weights.numpy()[row], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("touches", [1, 2, 5])
def test_the_first_touches_of_a_row_that_comes_late_are_as_long_as_the_learning_rate(touches):
    weights, optimizer = table(), LazyAdam(0.01)
    optimizer.build([weights])
    optimizer.iterations.assign(300)
    for _ in range(touches):
        optimizer.apply_gradients([(sparse(np.ones([1, WIDTH]), [4]), weights)])
    moved = table().numpy()[4] - weights.numpy()[4]
    np.testing.assert_allclose(moved, touches * 0.01, rtol=1e-3)


@pytest.mark.parametrize("dense", [False, True], ids=["rows", "whole"])
def test_a_row_takes_long_steps_while_it_is_young(dense):
    young, other, optimizer = table(), table(1), LazyAdam(0.01)
    optimizer.set_row_rate(7.0, 2.0, [young])
    gradient = sparse(np.ones([1, WIDTH]), [4])
    gradient = tf.convert_to_tensor(gradient) if dense else gradient
    moved = []
    for _ in range(4):
        before = young.numpy()[4], other.numpy()[4]
        optimizer.apply_gradients([(gradient, young), (gradient, other)])
        moved.append([before[0] - young.numpy()[4], before[1] - other.numpy()[4]])
    for steps, (own, of_other) in enumerate(moved):
        np.testing.assert_allclose(own, 0.01 * (1 + 6 / (1 + steps / 2)), rtol=1e-3)
        np.testing.assert_allclose(of_other, 0.01, rtol=1e-3)


def test_a_scalar_gets_adams_step():
    ours, kerass = LazyAdam(0.05), keras.optimizers.Adam(0.05)
    first, other = tf.Variable(1.0), tf.Variable(1.0)
    for gradient in (0.5, -2.0, 0.1):
        ours.apply_gradients([(tf.constant(gradient), first)])
        kerass.apply_gradients([(tf.constant(gradient), other)])
    assert float(first) == pytest.approx(float(other), rel=1e-4)


def test_a_count_that_was_not_saved_is_that_of_all_steps_where_a_row_has_made_any():
    v = np.zeros([4, WIDTH], np.float32)
    v[1, 2] = 0.5
    slots = with_steps({"m": np.zeros_like(v), "v": v}, 70)
    np.testing.assert_array_equal(slots[STEPS], np.array([0, 70, 0, 0], np.float32))
    assert with_steps({"m": np.float32(1), "v": np.float32(1)}, 70)[STEPS] == 70


def test_a_dense_variable_gets_adams_step():
    ours, kerass = LazyAdam(0.05), keras.optimizers.Adam(0.05)
    first, other = tf.Variable([1.0, 2.0]), tf.Variable([1.0, 2.0])
    for _ in range(3):
        ours.apply_gradients([(tf.constant([0.5, -2.0]), first)])
        kerass.apply_gradients([(tf.constant([0.5, -2.0]), other)])
    np.testing.assert_allclose(first.numpy(), other.numpy(), rtol=1e-4)


def test_a_row_that_occurs_twice_is_one_gradient():
    once, twice = table(), table()
    LazyAdam(0.05).apply_gradients([(sparse(np.full([1, WIDTH], 3.0), [4]), once)])
    LazyAdam(0.05).apply_gradients([(sparse(np.array([[1.0] * WIDTH, [2.0] * WIDTH]), [4, 4]), twice)])
    np.testing.assert_array_equal(once.numpy(), twice.numpy())


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.floats(0.1, 20.0), st.sampled_from(OPTIMIZERS))
@settings(max_examples=10, deadline=None)
def test_a_step_is_that_of_the_gradient_as_a_whole_whatever_it_is_clipped_to(rows, clip_norm, name):
    """With another variable, as the norm is that of all; so are the slots, but for the count of steps."""
    values = np.random.default_rng(len(rows)).normal(size=[len(rows), WIDTH])
    moved = []
    for gradient in (sparse(values, rows), tf.convert_to_tensor(sparse(values, rows))):
        weights, other = table(), tf.Variable([1.0, 2.0])
        # Adagrad's sums begin high, so that how far it goes says how long the gradient was.
        optimizer = plain_optimizer(name, 0.1, clip_norm=clip_norm, initial_accumulator=10.0)
        optimizer.apply_gradients([(gradient, weights), (tf.constant([3.0, -2.0]), other)])
        moved.append([weights.numpy()[:5], other.numpy(), *(slot.numpy()[:5] for slot in optimizer.variables[1:5])])
    for by_rows, whole in zip(*moved, strict=True):
        np.testing.assert_allclose(by_rows, whole, rtol=1e-4, atol=1e-6)


def graphs(graph: tf.Graph) -> Iterator[tf.Graph]:
    yield graph
    for function in graph._functions.values():
        yield function.graph if hasattr(function, "graph") else graph


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_no_tensor_as_large_as_the_table_is_made_in_a_step(name, clip_norm):
    weights, dense = table(), tf.Variable(tf.ones([WIDTH]))
    optimizer = plain_optimizer(name, 0.1, clip_norm=clip_norm, weight_decay=0.01, tables=[weights])
    optimizer.build([weights, dense])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
    def step(rows: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(tf.gather(weights, rows) * dense))
        optimizer.apply_gradients(zip(tape.gradient(loss, [weights, dense]), [weights, dense], strict=True))

    traced = step.get_concrete_function().graph
    operations = [operation for graph in graphs(traced) for operation in graph.get_operations()]
    assert any(operation.type.startswith("ResourceScatter") for operation in operations)
    large = [
        operation.name
        for operation in operations
        for output in operation.outputs
        if output.shape.rank and output.shape[0] == ROWS
    ]
    assert large == []
    step(tf.constant([3, 3, 9], tf.int64))


def test_slots_have_adams_names_and_a_count_for_each_row():
    slots = Trainable(Small(TableSizes(5, 5, 2), HISTORY), LazyAdam(0.1)).slots
    assert list(slots["item/embeddings"]) == ["m", "v", STEPS]
    assert {path: tuple(of[STEPS].shape) for path, of in slots.items()} == {
        "item/embeddings": (5,), "key/embeddings": (5,), "bias": (5,), "scale/layer-0/kernel": (1,),
        "scale/layer-0/bias": (1,),
    }  # fmt: skip


@pytest.mark.parametrize("make", [lambda: LazyAdam(0.1), lambda: Adagrad(0.1)], ids=OPTIMIZERS)
@pytest.mark.parametrize("gradient", [sparse(np.ones([1, WIDTH]), [5]), tf.ones([ROWS, WIDTH])], ids=["rows", "dense"])
def test_a_variable_moves_at_its_own_rate_with_the_same_slots(make, gradient):
    moved, slots = {}, {}
    for factor in (1.0, 0.25):
        weights, optimizer = table(), make()
        optimizer.set_rates({"table": factor}, {"table": weights})
        optimizer.apply_gradients([(gradient, weights)])
        moved[factor] = weights.numpy()[5] - table().numpy()[5]
        slots[factor] = [slot.numpy() for slot in optimizer.variables[1:]]
        assert float(optimizer.learning_rate) == pytest.approx(0.1)
    np.testing.assert_allclose(moved[0.25], 0.25 * moved[1.0], rtol=1e-3)
    for quarter, whole in zip(slots[0.25], slots[1.0], strict=True):
        np.testing.assert_array_equal(quarter, whole)


def test_a_rate_follows_the_optimizers_own():
    weights, optimizer = tf.Variable([1.0]), Adagrad(1.0, initial_accumulator_value=0.0, epsilon=0.0)
    optimizer.set_rates({"weights": 0.5}, {"weights": weights})
    apply = tf.function(lambda: optimizer.apply_gradients([(tf.ones([1]), weights)]))
    apply()
    assert weights.numpy() == pytest.approx(0.5)
    optimizer.learning_rate = 0.0
    apply()
    assert weights.numpy() == pytest.approx(0.5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_leaves_tables_alone(name):
    weights, dense = table(), tf.Variable([2.0])
    optimizer = plain_optimizer(name, 0.1, weight_decay=0.5, tables=[weights])
    optimizer.apply_gradients([(sparse(np.zeros([1, WIDTH]), [4]), weights), (tf.zeros([1]), dense)])
    assert dense.numpy() == pytest.approx(2.0 * (1 - 0.1 * 0.5))
    np.testing.assert_array_equal(weights.numpy(), table().numpy())
