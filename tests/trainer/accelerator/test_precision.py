"""In fewer bits layers compute something else, a little; what is kept, weighed and served is float32."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trainer.accelerator.steps import MODELS, first_batches, model_of
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


@pytest.mark.parametrize("name", MODELS)
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
