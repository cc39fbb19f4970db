"""A figure far from the days before is told of, and what is like them, or can't be held against them, is not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.monitoring.alerts import alerts_of
from pipeline.monitoring.outliers import unusual
from tests.pipeline.hand_made_ledger import make_run

WEEK = [
    make_run(f"2024-05-0{day}", events=3_000 + 10 * day, next_span={"recall": 0.24 + 0.01 * (day % 2)})
    for day in range(1, 8)
]


def test_a_sick_day_is_told_with_what_is_unusual_about_it():
    sick = make_run("2024-05-08", events=3_050, next_span={"recall": 0.1})
    (recall,) = unusual(sick, WEEK)
    assert recall == (
        "Next-span recall is 0.1000, outside of 0.2245 to 0.2669, where 99% of days like the 7 before it would be."
    )
    half = make_run("2024-05-08", events=1_500, next_span={"recall": 0.245})
    (events,) = unusual(half, WEEK)
    assert events.startswith("The number of events is 1,500, outside of 2,954 to 3,126, where 99%")
    (alert,) = alerts_of(make_run("2024-05-08", events=1_500, next_span={"recall": 0.1}), WEEK)
    assert (alert.what, alert.of, alert.sentence.count(" outside of ")) == ("unusual", "r01", 2)


@given(st.floats(0.2401, 0.2499), st.integers(3_010, 3_070))
def test_a_day_within_what_was_is_not(recall, events):
    assert unusual(make_run("2024-05-08", events=events, next_span={"recall": recall}), WEEK) == []


@given(st.lists(st.floats(0.1, 0.9), min_size=4, max_size=40, unique=True), st.floats(0, 2), st.floats(0.01, 5))
def test_the_measure_is_that_of_the_figures(values, value, scale):
    def is_unusual(factor: float) -> bool:
        before = [make_run("2024-05-01", events=None, next_span={"rmse": rmse * factor}) for rmse in values]
        return bool(unusual(make_run("2024-06-01", events=None, next_span={"rmse": value * factor}), before))

    assert is_unusual(1.0) == is_unusual(2.0)


def test_without_enough_to_be_held_against_nothing_is_said():
    sick = make_run("2024-05-08", events=1, next_span={"recall": 0.0})
    assert unusual(sick, WEEK[:3]) == []
    unmeasured = make_run("2024-05-08", events=None, next_span={})
    assert unusual(unmeasured, WEEK) == []


def test_only_the_last_thirty_days_count():
    long_ago = [make_run("2024-04-01", events=9_000, next_span={}) for _ in range(30)]
    lately = [make_run("2024-05-01", events=3_000 + day, next_span={}) for day in range(30)]
    assert unusual(make_run("2024-06-01", events=9_000, next_span={}), [*long_ago, *lately])
