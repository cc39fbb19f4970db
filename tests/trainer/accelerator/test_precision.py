"""In fewer bits layers compute something else, a little; what is kept, weighed and served is float32."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trainer.accelerator.steps import MODELS, batches_of, compiled, first_batches, model_of
from trainer.accelerated_learner import OVERFLOWED, AcceleratedLearner, OverflowCount, loss_scale, scaled
from trainer.compiled_step import compiled_step
from trainer.keras2 import keras, tf
from trainer.models.base import Recommender
from trainer.precision import built_in, compute_dtype
from trainer.stability.base import NEW
from trainer.training_batches import OF_FULL_SIZE

FEW_BITS = {"mixed_bfloat16": 2.0**-8, "mixed_float16": 2.0**-11}


def loss_and_gradients(model: Recommender) -> tuple[tf.Tensor, dict[str, np.ndarray]]:
    batch = dict(first_batches(model)[NEW])
    batch.pop(OF_FULL_SIZE, None)
    with compiled_step(tf.constant([1, 2], tf.int64)), tf.GradientTape() as tape:  # the same draws
        loss = model.compute_loss(model.prepare(batch), training=True)
    variables = model.trainable_variables
    gradients = zip(variables, tape.gradient(loss, variables), strict=True)
    return loss, {
        f"{number} {variable.name}": tf.convert_to_tensor(gradient).numpy()
        for number, (variable, gradient) in enumerate(gradients)
        if gradient is not None
    }


@pytest.mark.parametrize("name", sorted(MODELS.keys() - {"two_tower", "dcn of clicks"}))  # of which `two_stage` is made
def test_a_step_in_fewer_bits_is_nearly_the_same_and_its_weights_are_float32(name):
    loss, gradients = loss_and_gradients(model_of(name))
    for precision, rounding in FEW_BITS.items():
        model = model_of(name, precision)
        assert {variable.dtype for variable in model.variables if variable.dtype.is_floating} == {tf.float32}
        low_loss, low_gradients = loss_and_gradients(model)
        assert low_loss.dtype == tf.float32
        assert float(low_loss) == pytest.approx(float(loss), rel=20 * rounding)
        assert low_gradients.keys() == gradients.keys()
        changed = 0
        for path, gradient in gradients.items():
            low = low_gradients[path]
            assert low.dtype == np.float32, path
            assert np.isfinite(low).all(), path
            length = np.linalg.norm(gradient)
            assert np.linalg.norm(low - gradient) <= 60 * rounding * length + 1e-5, path
            changed += not np.array_equal(low, gradient)
        assert changed, "a setting must have an effect"


def test_the_policy_is_set_while_a_model_is_built_alone():
    with built_in("mixed_bfloat16"):
        assert compute_dtype() == tf.bfloat16
        with pytest.raises(RuntimeError, match="stop"), built_in("mixed_float16"):
            raise RuntimeError("stop")
        assert compute_dtype() == tf.bfloat16
    assert keras.mixed_precision.global_policy().name == "float32"


def test_a_step_whose_gradients_overflow_is_left_out_and_counted(monkeypatch):
    model = model_of("mf", "mixed_float16")
    learner = compiled(AcceleratedLearner(model, [], [], 1, jit_compile=False))
    optimizer = learner.optimizer
    learner.compile(optimizer=scaled(optimizer, "mixed_float16"))
    scale, _ = loss_scale(learner.optimizer)
    batches, table, count = {NEW: next(iter(batches_of(model, False).data))}, model.item_embedding, OverflowCount()
    finite = model.compute_loss

    def step(factor: float) -> tuple[bool, bool]:
        """Whether it was left out, and whether it moved anything."""
        monkeypatch.setattr(model, "compute_loss", lambda *args, **how: factor * finite(*args, **how))
        before = table.embeddings.numpy()
        logs = {name: float(value) for name, value in learner.train_step(batches).items()}
        count.on_train_batch_end(0, logs)
        return bool(logs[OVERFLOWED]), not np.array_equal(table.embeddings, before)

    assert float(scale) == 2.0**15
    assert step(1.0) == (False, True)
    assert step(np.inf) == (True, False)
    assert float(scale) == 2.0**14
    scale.assign(1.0)  # which is never halved
    assert step(np.inf) == (True, False)
    assert str(count).startswith("2 of 3 steps were left out")
    assert int(optimizer.iterations) == 3
