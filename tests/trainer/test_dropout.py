"""Dropout by 16 bits a value is dropout."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.compiled_step import dropout
from trainer.keras2 import tf

VALUES = tf.ones([400, 3, 7])  # of a width that no draw of four values fits


@pytest.mark.parametrize("rate", [0.3, 0.001])
def test_the_share_of_the_rate_is_zero_and_the_mean_stays(rate: float) -> None:
    tf.random.set_seed(1)
    dropped = tf.function(lambda: dropout(VALUES, rate))().numpy()
    assert dropped.shape == VALUES.shape
    assert set(np.unique(dropped)) == {0, np.unique(dropped)[-1]}
    assert dropped.max() == pytest.approx(1 / (1 - rate), abs=1e-4)
    share = np.mean(dropped == 0)
    assert share == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / VALUES.shape.num_elements()))


def test_each_value_and_each_call_is_drawn_by_itself() -> None:
    tf.random.set_seed(1)
    drawn, again = (dropout(VALUES, 0.5).numpy() == 0 for _ in range(2))
    columns = np.stack([*drawn.reshape(-1, 7).T, again[..., 0].reshape(-1)])
    assert np.abs(np.corrcoef(columns) - np.eye(8)).max() < 0.15
    tf.random.set_seed(1)
    np.testing.assert_array_equal(dropout(VALUES, 0.5).numpy() == 0, drawn, "by the seed alone")


def test_the_gradient_is_zero_where_the_value_is() -> None:
    with tf.GradientTape() as tape:
        tape.watch(VALUES)
        dropped = dropout(VALUES, 0.4)
    np.testing.assert_array_equal(tape.gradient(dropped, VALUES), dropped)


def test_a_rate_of_zero_draws_nothing() -> None:
    assert dropout(VALUES, 0.0) is VALUES
