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
from trainer.optimizers import Adagrad, LazyAdam
from trainer.train_state import Trainable

ROWS, WIDTH = 777, 3
STEPS = ("adam", "adagrad")


def sparse(values: np.ndarray, rows: list[int]) -> tf.IndexedSlices:
    return tf.IndexedSlices(tf.constant(values, tf.float32), tf.constant(rows, tf.int64), [ROWS, WIDTH])


def table(seed: int = 0) -> tf.Variable:
    return tf.Variable(np.random.default_rng(seed).normal(size=[ROWS, WIDTH]).astype(np.float32))


@pytest.mark.parametrize("name", STEPS)
def test_rows_without_a_gradient_keep_every_bit_of_weights_and_slots(name):
    weights, optimizer = table(), plain_optimizer(name, 0.1, clip_norm=10.0)
    optimizer.build([weights])
    slots = optimizer.variables[1:]
    for slot in slots:
        slot.assign(slot + np.random.default_rng(1).random([ROWS, WIDTH]).astype(np.float32))
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
    np.testing.assert_allclose(lazy.numpy(), plain.numpy(), rtol=1e-4, atol=1e-6)
    for own_variable, other in zip(ours.variables, kerass.variables, strict=True):
        np.testing.assert_allclose(own_variable.numpy(), other.numpy(), rtol=1e-4, atol=1e-6)


def test_a_dense_variable_gets_adams_step():
    ours, kerass = LazyAdam(0.05), keras.optimizers.Adam(0.05)
    first, other = tf.Variable([1.0, 2.0]), tf.Variable([1.0, 2.0])
    for _ in range(3):
        ours.apply_gradients([(tf.constant([0.5, -2.0]), first)])
        kerass.apply_gradients([(tf.constant([0.5, -2.0]), other)])
    np.testing.assert_array_equal(first.numpy(), other.numpy())


def test_a_row_that_occurs_twice_is_one_gradient():
    once, twice = table(), table()
    LazyAdam(0.05).apply_gradients([(sparse(np.full([1, WIDTH], 3.0), [4]), once)])
    LazyAdam(0.05).apply_gradients([(sparse(np.array([[1.0] * WIDTH, [2.0] * WIDTH]), [4, 4]), twice)])
    np.testing.assert_array_equal(once.numpy(), twice.numpy())


def graphs(graph: tf.Graph) -> Iterator[tf.Graph]:
    yield graph
    for function in graph._functions.values():
        yield function.graph if hasattr(function, "graph") else graph


@pytest.mark.parametrize("name", STEPS)
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


def test_slots_have_adams_names():
    slots = Trainable(Small(TableSizes(5, 5, 2), HISTORY), LazyAdam(0.1)).slots
    assert list(slots["item/embeddings"]) == ["m", "v"]


@pytest.mark.parametrize("make", [lambda: LazyAdam(0.1), lambda: Adagrad(0.1)], ids=STEPS)
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
    np.testing.assert_array_equal(slots[0.25], slots[1.0])


def test_a_rate_follows_the_optimizers_own():
    weights, optimizer = tf.Variable([1.0]), Adagrad(1.0, initial_accumulator_value=0.0, epsilon=0.0)
    optimizer.set_rates({"weights": 0.5}, {"weights": weights})
    apply = tf.function(lambda: optimizer.apply_gradients([(tf.ones([1]), weights)]))
    apply()
    assert weights.numpy() == pytest.approx(0.5)
    optimizer.learning_rate = 0.0
    apply()
    assert weights.numpy() == pytest.approx(0.5)


@pytest.mark.parametrize("name", STEPS)
def test_weight_decay_leaves_tables_alone(name):
    weights, dense = table(), tf.Variable([2.0])
    optimizer = plain_optimizer(name, 0.1, weight_decay=0.5, tables=[weights])
    optimizer.apply_gradients([(sparse(np.zeros([1, WIDTH]), [4]), weights), (tf.zeros([1]), dense)])
    assert dense.numpy() == pytest.approx(2.0 * (1 - 0.1 * 0.5))
    np.testing.assert_array_equal(weights.numpy(), table().numpy())
