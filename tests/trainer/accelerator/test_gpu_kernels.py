"""TensorFlow has a GPU kernel for every operation of every model's training step."""

from __future__ import annotations

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tests.trainer.accelerator.gpu_kernels import is_known, without_gpu_kernel
from tests.trainer.accelerator.steps import batches_of, compiled, model_of, parts_for
from trainer.keras2 import tf
from trainer.models import reversed_windows
from trainer.stability.base import Learner
from trainer.training_batches import mixed

pytestmark = pytest.mark.skipif(not is_known(), reason="this TensorFlow was built without kernels for a GPU")


# Each costs seconds to trace. `two_stage` has the losses of `two_tower` and `dcn`, and `sasrec` that of `hstu`.
@pytest.mark.parametrize("name", ["sasrec", "mf", "two_stage"])
def test_no_operation_of_a_step_needs_the_cpu(name, monkeypatch):
    monkeypatch.setattr("trainer.models.reversed_windows._for_gpu", lambda: True)
    model = model_of(name)
    parts = parts_for(model, model_of(name)) if name == "mf" else []
    learner = compiled(Learner(model, parts), "adagrad" if name == "two_stage" else "adam")
    batches = mixed(batches_of(model, fixed_shapes=False), parts)
    step = tf.function(learner.train_step).get_concrete_function(batches.element_spec)
    by_cpu = without_gpu_kernel(step)
    assert not by_cpu, by_cpu


def test_what_the_cpu_alone_can_compute_is_named():
    @tf.function
    def step(ids: tf.Tensor) -> tf.Tensor:
        return tf.strings.to_hash_bucket_fast(ids, 10) + tf.cast(tf.size(ids), tf.int64)

    function = step.get_concrete_function(tf.TensorSpec([None], tf.string))
    assert {name.partition("(")[0] for name in without_gpu_kernel(function)} >= {"StringToHashBucketFast"}


@hypothesis.given(st.lists(st.lists(st.integers(1, 9), max_size=5), min_size=1, max_size=4))
@hypothesis.settings(max_examples=10)
def test_windows_are_reversed_alike_with_and_without_a_gpu(rows):
    history = np.zeros((len(rows), 6), np.int64)
    for number, row in enumerate(rows):
        history[number, : len(row)] = row
    item = np.where(history > 0, history + 1, 0)
    windows = [tf.constant(values) for values in (history, item, item.astype(np.float32), history)]
    plain = reversed_windows.reversed_windows(*windows)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(reversed_windows, "_for_gpu", lambda: True)
        for values, expected in zip(reversed_windows.reversed_windows(*windows), plain, strict=True):
            np.testing.assert_array_equal(values, expected)
