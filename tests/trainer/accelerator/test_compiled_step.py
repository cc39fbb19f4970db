"""What XLA compiles is the same step: the same loss and gradients, no shape that depends on values, few shapes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.trainer.accelerator.steps import (
    BATCH,
    LENGTH,
    MODELS,
    SIZES,
    batches_of,
    compiled,
    first_batches,
    model_of,
    without_dropout,
)
from trainer.accelerated_learner import AcceleratedLearner
from trainer.checks.small_data import random_sequences
from trainer.compiled_step import compiled_step, is_compiled, uniform
from trainer.input_pipeline import Sequences
from trainer.keras2 import tf
from trainer.sequence_windows import padded_size
from trainer.settings import (
    DistillationSettings,
    EwcSettings,
    ModelSpec,
    Policy,
    ProximalSettings,
    ReplaySettings,
    Stability,
)
from trainer.stability.base import Batches
from trainer.training_batches import OF_FULL_SIZE, make_training_batches
from trainer.update import Span, Update, update

SEED = [7, 3]
# Each costs seconds of compilation. `two_stage` has the losses of `two_tower` and `dcn` in it, and `run` has `mf`.
COMPILED = ["sasrec", "two_stage"]


def prepared(learner: AcceleratedLearner, batches: Batches) -> tuple[Batches, tf.Tensor]:
    seed = tf.constant(SEED, tf.int64)
    in_graph = tf.function(lambda: learner._prepared(batches, seed)[0])  # where not all can be done that can be here
    return in_graph(), seed


def learner_of(name: str) -> AcceleratedLearner:
    learner = AcceleratedLearner(without_dropout(model_of(name)), [], [], 7, jit_compile=True)
    compiled(learner)
    return learner


@pytest.mark.parametrize("name", COMPILED)
def test_a_compiled_step_has_the_loss_and_the_gradients_of_a_plain_one(name):
    learner = learner_of(name)
    batches, seed = prepared(learner, first_batches(learner.recommender))
    loss, gradients = learner._by_xla(batches, seed)
    plain_loss, plain = learner._own_gradients(batches, seed)
    assert float(loss) == pytest.approx(float(plain_loss), rel=1e-4)
    assert float(learner._by_xla(batches, seed)[0]) == float(loss), "the same seed, the same step"
    assert len(gradients) > 1
    for by_xla, by_kernels in zip(gradients, plain, strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(by_xla), tf.convert_to_tensor(by_kernels), rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("name", ["two_tower", "sasrec", "dcn of clicks"])
def test_a_loss_over_all_rows_is_that_over_those_which_count(name, monkeypatch):
    """With a weight of 0 for the others, and the same negatives."""
    model = without_dropout(model_of(name))
    plain = next(iter(batches_of(model, fixed_shapes=False).data))
    padded = dict(next(iter(batches_of(model, fixed_shapes=True).data)))
    padded.pop(OF_FULL_SIZE, None)
    drawn = np.random.default_rng(5).integers(SIZES.first_row, SIZES.items, 10_000)

    def the_same(shape, low, high, dtype, **_):
        shape = [int(size) for size in shape]
        return tf.constant(drawn[: np.prod(shape)].reshape(shape), dtype)

    for module in ("two_tower", "sampled_softmax", "ranker"):
        monkeypatch.setattr(f"trainer.models.{module}.uniform", the_same)
    chosen = float(model.compute_loss(plain, training=True))
    with compiled_step(tf.constant(SEED, tf.int64)):
        every = float(model.compute_loss(model.prepare(padded), training=True))
    assert every == pytest.approx(chosen, rel=1e-4)


def test_a_compiled_step_draws_by_its_seed_alone():
    def draws(seed: tf.Tensor) -> tf.Tensor:
        with compiled_step(seed):
            assert is_compiled()
            return tf.stack([uniform([], 0, 10**9, tf.int64) for _ in range(3)])

    by_xla = tf.function(draws, jit_compile=True)

    def drawn(seed: int) -> list[int]:
        plain, compiled = (of(tf.constant([seed, 0], tf.int64)).numpy().tolist() for of in (draws, by_xla))
        assert plain == compiled, "whoever computes it"
        return plain

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert len(set(drawn(1))) == 3
    assert not is_compiled()


def test_windows_come_in_few_shapes_and_say_the_same():
    model = model_of("sasrec")
    sequences = random_sequences(SIZES, 400, seed=2)
    plain, padded = (
        list(make_training_batches(model, sequences, BATCH, LENGTH, 1, fixed_shapes=fixed).data)
        for fixed in (False, True)
    )
    assert len({tuple(batch["history"].shape) for batch in plain}) > 6
    assert {batch["history"].shape[0].bit_count() for batch in padded} == {1}
    assert {batch["history"].shape[1] for batch in padded} == {2, 4, LENGTH}, "a batch of short ones stays short"
    for batch, more in zip(plain, padded, strict=True):
        rows, length = batch["history"].shape
        assert more["history"].shape[1] <= LENGTH
        for name in ("history", "item", "weight"):
            np.testing.assert_array_equal(more[name][:rows, :length], batch[name])
            assert not np.any(more[name][rows:])
            assert not np.any(more[name][:, length:])
        np.testing.assert_array_equal(more["key"][:rows], batch["key"])


@pytest.mark.parametrize("count", [1, 8, 9, 16, 200, 257])
def test_a_size_is_a_power_of_two_and_at_most_twice_the_count(count):
    size = padded_size(count)
    assert size.bit_count() == 1
    assert count <= size < 2 * max(count, 5)
    assert count <= padded_size(count, least=2) < 2 * max(count, 2)


def test_only_batches_of_full_size_are_compiled():
    model = model_of("mf")
    full = [bool(batch[OF_FULL_SIZE]) for batch in batches_of(model, fixed_shapes=True).data]
    assert full == [True] * (len(full) - 1) + [False]
    assert OF_FULL_SIZE not in batches_of(model, fixed_shapes=False).data.element_spec


def test_candidates_come_in_few_sizes():
    model = model_of("sasrec")
    with compiled_step(tf.constant(SEED, tf.int64)):
        sizes = {int(tf.size(model.prepare(batch)["candidates"]["rows"])) for batch in batches_of(model, True).data}
    assert all(size.bit_count() == 1 for size in sizes)
    assert len(sizes) <= 2


def run(policy: Policy, base: Update | None = None, number: int = 1) -> Update:
    spec = ModelSpec(*MODELS["mf"], LENGTH)
    state, memory = (None, None) if base is None else (base.state, base.memory)
    spans = [Span(number, random_sequences(SIZES, 30, seed=number))]
    nothing, popularity = Sequences.empty().positions(), np.ones(SIZES.items)
    return update(spec, SIZES, spans, nothing, popularity, policy, state, memory=memory)


def test_an_update_that_is_compiled_in_few_bits_keeps_old_days():
    stability = Stability(
        replay=ReplaySettings(budget=8),
        distillation=DistillationSettings(weight=0.5, candidates=30),
        proximal=ProximalSettings(strength=0.1),
        ewc=EwcSettings(strength=1.0, sample=16),
    )
    plain = Policy(epochs=1, batch_size=BATCH, optimizer="adam", learning_rate=0.01, stability=stability)
    policy = dataclasses.replace(plain, jit_compile=True, precision="mixed_float16")
    base = run(plain)
    result = run(policy, base, 2)
    for path, weights in result.state.weights.items():
        assert weights.dtype == base.state.weights[path].dtype
        assert np.isfinite(weights).all(), path
    assert np.isfinite(result.train_loss)
    table = "item_embedding/embeddings"
    assert np.abs(result.state.weights[table] - base.state.weights[table]).max() > 0.001
    assert result.model.compute_dtype == "float32"  # who is asked and served
