"""TensorFlow has a GPU kernel for every operation of every model's training step."""

from __future__ import annotations

import pytest

from tests.trainer.accelerator.gpu_kernels import is_known, without_gpu_kernel
from tests.trainer.accelerator.steps import MODELS, batches_of, compiled, model_of
from trainer.keras2 import tf
from trainer.stability.base import Learner
from trainer.training_batches import mixed

pytestmark = pytest.mark.skipif(not is_known(), reason="this TensorFlow was built without kernels for a GPU")


@pytest.mark.parametrize("name", MODELS)
def test_no_operation_of_a_step_needs_the_cpu(name):
    model = model_of(name)
    learner = compiled(Learner(model, []))
    batches = mixed(batches_of(model, fixed_shapes=False), [])
    step = tf.function(learner.train_step).get_concrete_function(batches.element_spec)
    by_cpu = without_gpu_kernel(step)
    assert not by_cpu, by_cpu


def test_what_the_cpu_alone_can_compute_is_named():
    @tf.function
    def step(ids: tf.Tensor) -> tf.Tensor:
        return tf.strings.to_hash_bucket_fast(ids, 10) + tf.cast(tf.size(ids), tf.int64)

    function = step.get_concrete_function(tf.TensorSpec([None], tf.string))
    assert {name.partition("(")[0] for name in without_gpu_kernel(function)} >= {"StringToHashBucketFast"}
