"""Better or worse is decided by intervals, and a fall of the days is told from one of the model."""

from __future__ import annotations

import numpy as np
import pytest

from components.surroundings import Surroundings
from pipeline.ledger.runs import Run
from pipeline.monitoring.trend import FEWEST, read_level, read_trend, slope
from tests.pipeline.hand_made_ledger import DAYS, make_run

FIRST = DAYS.parse("2024-05-01")
NOISE = np.random.default_rng(3).normal(0, 0.004, (2, 14))


def spans(recall: list[float], popular: list[float] | None, half: float = 0.02) -> list[Run]:
    runs = []
    for day, value in enumerate(recall):
        surroundings = Surroundings()
        if popular is not None:
            gain = value - popular[day]
            surroundings = Surroundings(
                {"recall": (value, value - half, value + half)},
                {"recall": (popular[day], popular[day] - half, popular[day] + half)},
                {"recall": (gain, gain - half, gain + half)},
            )
        runs.append(make_run(DAYS.format(FIRST + day), next_span={"recall": value}, surroundings=surroundings))
    return runs


def line(begin: float, end: float, of: int = 0, days: int = 14) -> list[float]:
    return list(np.linspace(begin, end, days) + NOISE[of, :days])


@pytest.mark.parametrize(
    ("recall", "popular", "direction", "cause", "said"),
    [
        (
            line(0.3, 0.2),
            line(0.1, 0.1, 1),
            "worse",
            "model",
            "Getting worse: over 14 spans, 2024-05-01 to 2024-05-14,",
        ),
        (line(0.3, 0.18), line(0.2, 0.12, 1), "worse", "days", "The days became harder to foretell"),
        (line(0.2, 0.3), line(0.1, 0.1, 1), "better", "model", "Getting better"),
        (line(0.2, 0.3), line(0.1, 0.15, 1), "better", "days", "Rising with the days"),
        (line(0.2, 0.25), line(0.1, 0.2, 1), "worse", "model", "Falling behind"),
        (line(0.2, 0.2), line(0.1, 0.1, 1), "steady", "", "No change that is more than chance"),
        (line(0.3, 0.2), None, "worse", "open", "the model or the days, no telling"),
        (line(0.2, 0.2), None, "steady", "", "No change"),
    ],
)
def test_a_trend_and_its_cause(recall, popular, direction, cause, said):
    trend = read_trend(spans(recall, popular), "recall", 20)
    assert (trend.direction, trend.cause) == (direction, cause)
    assert said in trend.sentence
    assert "recall@20" in trend.sentence


def test_few_spans_say_nothing_and_what_fell_long_ago_does_not_count():
    few = read_trend(spans(line(0.3, 0.1, days=FEWEST - 1), None), "recall", 20)
    assert (few.direction, few.sentence) == ("unknown", "No telling yet: recall@20 is known of 6 spans, 7 are needed.")
    fell_long_ago = [*line(0.5, 0.4), *line(0.2, 0.2, 1), *line(0.2, 0.2)]
    assert read_trend(spans(fell_long_ago, None), "recall", 20).direction == "steady"


def test_a_slow_slide_is_seen_over_four_weeks():
    random = np.random.default_rng(5)
    slide = list(np.linspace(0.25, 0.19, 28) + random.normal(0, 0.015, 28))
    assert read_trend(spans(slide[-14:], None), "recall", 20).direction == "steady"
    trend = read_trend(spans(slide, None), "recall", 20)
    assert trend.direction == "worse"
    assert "over 28 spans" in trend.sentence


def test_an_error_that_rises_is_worse():
    runs = [make_run(f"2024-05-{day + 1:02d}", next_span={"rmse": 1 + day / 20 + NOISE[0, day]}) for day in range(14)]
    trend = read_trend(runs, "rmse", 20)
    assert (trend.direction, trend.cause) == ("worse", "open")


def test_of_steady_spans_hardly_any_shows_a_trend_and_of_a_slide_most_do():
    random = np.random.default_rng(0)

    def share(slide: float, times: int = 400) -> float:
        values = 0.25 + slide * np.arange(14) + random.normal(0, 0.02, (times, 14))
        return float(np.mean([slope(range(14), of, [1.0] * 14).sign != 0 for of in values]))

    assert share(0.0) < 0.03
    assert share(-0.01) > 0.9


def test_spans_that_resemble_the_one_before_count_for_fewer():
    wave = np.sin(np.arange(14) / 14 * 2 * np.pi) * 0.05
    straight, swinging = 0.2 + NOISE[0], 0.2 + wave
    assert slope(range(14), swinging, [1.0] * 14) is None or slope(range(14), swinging, [1.0] * 14).sign == 0
    assert slope(range(14), straight, [1.0] * 14).sign == 0
    assert slope([1, 1, 1], [1, 2, 3], [1, 1, 1]) is None


@pytest.mark.parametrize(
    ("popular", "half", "good", "said"),
    [
        ([0.1] * 9, 0.02, True, "Yes: recall@20 is 0.200 over the last 7 spans, 2.0 times the 0.100"),
        ([0.3] * 9, 0.02, False, "No: recall@20 is 0.200 over the last 7 spans, less than the 0.300"),
        ([0.19] * 9, 0.2, None, "Not for certain"),
        (None, 0.0, None, "was not measured"),
    ],
)
def test_what_is_served_is_good_if_it_beats_what_needs_no_model(popular, half, good, said):
    level = read_level(spans([0.2] * 9, popular, half), "recall", 20)
    assert level.good is good
    assert said in level.sentence


def test_before_the_second_span_nothing_is_known_of_what_is_served():
    assert "Not known yet" in read_level([make_run("2024-05-01", next_span={})], "recall", 20).sentence
