"""What the benchmark of the item encoder makes of its days."""

import pytest

from benchmarks.item_encoder import trend


def test_a_day_with_a_merge_does_not_bend_the_line():
    flat = [(day, 1.0 + 0.01 * (day % 3)) for day in range(2, 21)]
    assert trend(flat, 3, 20) == pytest.approx(1.0, abs=0.01)
    assert trend([*flat[:-1], (20, 3.0)], 3, 20) == pytest.approx(1.0, abs=0.02)
    assert trend([(day, 1.0 + 0.05 * day) for day in range(2, 21)], 3, 20) == pytest.approx(2.0 / 1.15)
