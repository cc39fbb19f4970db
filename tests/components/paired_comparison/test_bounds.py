"""The bounds on a mean gain, and what is made of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from components.paired_comparison.bounds import Interval, beyond, interval, outcome

CONFIDENCE = 0.975


def test_where_no_event_differs_the_models_may_yet_differ() -> None:
    """Of so many events, by the rule of three (at 95 %): 3 / n; about as much here, and less with more events."""
    few, many = (interval(np.zeros(n), np.ones(n), np.arange(n), 0.95).upper for n in (30, 3_000))
    assert 1 / 30 < few < 3 / 30
    assert many < 0.001
    assert outcome(interval(np.zeros(30), np.ones(30), np.arange(30), CONFIDENCE), 0.02, 10) == "not enough evidence"


def test_with_a_key_an_event_it_is_students_interval_and_half_an_event_either_way() -> None:
    gains = np.random.default_rng(0).normal(size=30)
    bounds = interval(gains, np.ones(30), np.arange(30), CONFIDENCE)
    half = stats.t.ppf(CONFIDENCE, 29) * math.sqrt(30 * gains.var(ddof=1) + 0.5) / 30
    assert bounds.lower == pytest.approx(gains.mean() - half)
    assert bounds.upper == pytest.approx(gains.mean() + half)
    assert (bounds.events, bounds.keys) == (30, 30)


def test_events_that_repeat_each_other_are_worth_one() -> None:
    gains = np.random.default_rng(1).normal(size=20)
    once = interval(gains, np.ones(20), np.arange(20), CONFIDENCE)
    repeated = interval(np.repeat(gains, 5), np.ones(100), np.repeat(np.arange(20), 5), CONFIDENCE)
    assert (repeated.lower, repeated.upper) == pytest.approx((once.lower, once.upper), abs=0.02)


def test_a_key_with_most_events_widens_the_bounds() -> None:
    gains = np.tile([1.0, -1.0, 0.0, 0.0], 30)
    even = interval(gains, np.ones(120), np.arange(120) // 10, CONFIDENCE)
    uneven = interval(gains, np.ones(120), np.where(np.arange(120) < 100, 0, np.arange(120)), CONFIDENCE)
    assert uneven.keys > even.keys
    assert uneven.upper - uneven.lower > even.upper - even.lower


@given(
    gains=arrays.arrays(np.float64, st.integers(2, 40), elements=st.sampled_from([-1.0, 0.0, 1.0])),
    scale=st.sampled_from([0.5, 2.0, 10.0]),
    keys=st.integers(1, 9),
)
def test_it_turns_with_its_sign_and_does_not_scale_with_its_weights(gains: np.ndarray, scale: float, keys: int) -> None:
    of_key, alike = np.arange(len(gains)) % keys, np.ones(len(gains))
    bounds = interval(gains, alike, of_key, CONFIDENCE)
    turned = -interval(-gains, alike, of_key, CONFIDENCE)
    scaled = interval(gains, scale * alike, of_key, CONFIDENCE)
    for name in ("mean", "lower", "upper"):
        assert getattr(turned, name) == pytest.approx(getattr(bounds, name))
        assert getattr(scaled, name) == pytest.approx(getattr(bounds, name))
    assert bounds.lower <= bounds.mean <= bounds.upper


def test_without_weight_or_with_a_single_key_nothing_is_sure() -> None:
    nothing = interval(np.ones(3), np.zeros(3), np.arange(3), CONFIDENCE)
    assert math.isnan(nothing.mean)
    assert (nothing.lower, nothing.upper) == (-math.inf, math.inf)
    single = interval(np.full(9, -1.0), np.ones(9), np.zeros(9, int), CONFIDENCE)
    assert single.mean == -1
    assert (single.lower, single.upper) == (-math.inf, math.inf)
    assert outcome(nothing, 0.02, 1) == outcome(single, 0.02, 1) == "not enough evidence"


def test_what_weighs_nothing_is_no_key() -> None:
    gains = np.array([1.0, 0.0, -1.0, 5.0])
    bounds = interval(gains, np.array([1.0, 1.0, 1.0, 0.0]), np.arange(4), CONFIDENCE)
    assert bounds.keys == 3
    assert bounds.mean == 0


@pytest.mark.parametrize(
    ("mean", "half", "said"),
    [
        (-0.05, 0.01, "worse"),
        (-0.05, 0.06, "not enough evidence"),  # chance alone makes such a one
        (-0.01, 0.005, "not worse"),  # sure to be worse, and within what is allowed
        (-0.015, 0.01, "not enough evidence"),
        (0.0, 0.01, "not worse"),
        (0.03, 0.08, "not enough evidence"),
        (-0.02, 0.0, "not worse"),  # at the limit
    ],
)
def test_outcomes(mean: float, half: float, said: str) -> None:
    bounds = Interval(mean, mean - half, mean + half, 100, 50)
    assert outcome(bounds, 0.02, min_events=100) == said
    assert beyond(bounds, 0.02) == (said == "worse")
    assert outcome(bounds, 0.02, min_events=101) == "not enough evidence"


def test_the_bounds_cover_the_truth_as_often_as_they_say() -> None:
    rng, covered = np.random.default_rng(5), 0
    for _ in range(400):
        keys = np.repeat(np.arange(60), rng.geometric(1 / 3, size=60))
        gains = rng.normal(size=60)[keys] + rng.normal(size=len(keys))
        bounds = interval(gains, np.ones(len(keys)), keys, CONFIDENCE)
        covered += bounds.lower <= 0 <= bounds.upper
    assert covered >= 0.92 * 400
