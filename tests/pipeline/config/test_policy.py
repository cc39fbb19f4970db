"""The section `policy`: what can be set, what is refused, and what of it reaches the decision."""

from __future__ import annotations

import dataclasses
import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.update_decider.policy import DriftRule, Limit, UpdatePolicy
from pipeline.config import Config, ConfigError, with_settings
from pipeline.parameters.graph_parameters import GraphParameters
from pipeline.spans import Naming

DAYS = Naming(dated=True)
DAILY = Config.model_validate(
    {
        "name": "shop",
        "data": {"path": "events", "columns": {"key": "u", "item": "i", "timestamp": "t", "context": ["device"]}},
    }
)
NUMBERED = with_settings(DAILY, {"data": {"pattern": "{SPAN}/*"}}, "It")


def rules(config: Config) -> UpdatePolicy:
    return GraphParameters.of(config).policy


def windows(config: Config) -> dict[str, tuple[int, int]]:
    return dict(GraphParameters.of(config).windows)


def with_policy(config: Config = DAILY, **policy: object) -> Config:
    return with_settings(config, {"policy": policy}, "It")


def test_as_it_stands_the_policy_is_that_of_none():
    assert rules(DAILY) == dataclasses.replace(rules(DAILY).without_limits(), cooldown=7)
    assert windows(DAILY) == {}


def test_everything_that_is_set_reaches_the_decision():
    config = with_policy(
        rest_spans=2,
        cooldown=3,
        max_age=30,
        next_span={"metric": "ndcg", "spans": 20, "at_least": 6, "fine_tune": 1, "retrain": 3},
        drift={
            "spans": 5,
            "columns": {"item": {"retrain": 0.5}, "device": {"measure": "infinity_norm", "fine_tune": 0.1}},
        },
        retention={"spans": 2, "age": 9, "retrain": 0.05},
        new_items={"fine_tune": 0.2, "retrain": 0.6},
        new_keys={"retrain": 0.9},
        schedule={"every": 4, "weekday": "sunday"},
    )
    policy = rules(config)
    assert (policy.metric, policy.rest_spans, policy.cooldown, policy.max_age) == ("ndcg", 2, 3, 30)
    assert (policy.next_span, policy.next_span_spans, policy.next_span_least) == (Limit(1, 3), 20, 6)
    assert policy.drift == (
        DriftRule("device", "infinity_norm", Limit(0.1, None)),
        DriftRule("item", "jensen_shannon", Limit(None, 0.5)),
    )
    assert (policy.drift_spans, policy.retention) == (5, Limit(None, 0.05))
    assert (policy.new_items, policy.new_keys) == (Limit(0.2, 0.6), Limit(None, 0.9))
    assert policy.schedule is not None
    assert windows(config) == {
        "evaluations": (20, 0),
        "past_statistics": (5, 0),
        "older_held_out": (2, 8),
        "verdicts": (10, 0),
        "decisions": (28, 0),
    }


def test_a_model_without_recall_is_watched_by_its_own_metric():
    ranking = with_settings(DAILY, {"model": {"type": "ranking"}}, "It")
    assert (rules(ranking).metric, rules(ranking).lower_is_better) == ("rmse", True)
    with pytest.raises(ConfigError, match=r"policy.next_span.metric` must be a metric of `ranking`: rmse"):
        rules(with_policy(ranking, next_span={"metric": "recall", "retrain": 3}))


@given(st.dates(datetime.date(1990, 1, 1), datetime.date(2040, 1, 1)), st.integers(1, 6))
def test_a_scheduled_weekday_is_that_weekday(day, every):
    schedule = rules(with_policy(schedule={"every": every, "weekday": "sunday"})).schedule
    due = schedule.last_due(DAYS.parse(day.isoformat()))
    assert datetime.date.fromisoformat(DAYS.format(due)).strftime("%A") == "Sunday"
    assert 0 <= DAYS.parse(day.isoformat()) - due < 7 * every
    assert schedule.last_due(due) == due
    assert schedule.last_due(due - 1) == due - 7 * every


@pytest.mark.parametrize(
    ("given", "due", "text"),
    [
        ({"every": 4, "weekday": "sunday", "start": datetime.date(2024, 5, 5)}, "2024-06-02", "every 4th Sunday"),
        ({"every": 1, "weekday": "monday"}, "2024-06-03", "every Monday"),
        ({"every": 2, "weekday": "friday", "start": "2024-05-24"}, "2024-05-24", "every 2nd Friday"),
        ({"every": 10, "start": "2024-05-24"}, "2024-06-03", "every 10th day"),
        ({"every": 21, "start": "2024-05-24"}, "2024-05-24", "every 21st day"),
    ],
)
def test_dates_are_counted_from_the_first_one(given, due, text):
    schedule = rules(with_policy(schedule=given)).schedule
    assert DAYS.format(schedule.last_due(DAYS.parse("2024-06-05"))) == due
    assert schedule.text == text


def test_spans_that_are_numbers_are_counted():
    schedule = rules(with_policy(NUMBERED, schedule={"every": 28, "start": 3})).schedule
    assert [schedule.last_due(span) for span in (3, 30, 31, 59)] == [3, 3, 31, 59]
    assert schedule.text == "every 28th span"
    assert rules(NUMBERED).unit == "span"


@pytest.mark.parametrize(
    ("config", "policy", "said"),
    [
        (DAILY, {"drift": {"columns": {"colour": {}}}}, "must be among key, item, weight, device. Received: colour"),
        (DAILY, {"drift": {"columns": {"item": {"measure": "cosine"}}}}, "policy.drift.columns.item.measure"),
        (DAILY, {"drift": {"columns": {"item": {"retrain": 1.5}}}}, "policy.drift.columns.item.retrain"),
        (DAILY, {"new_items": {"retrain": -1}}, "policy.new_items.retrain"),
        (DAILY, {"rest_spans": 15}, "must not be above `update.max_owed_spans`, 14"),
        (DAILY, {"next_span": {"at_least": 20}}, "`at_least` must not be above `spans`, 14"),
        (DAILY, {"schedule": {"weekday": "sunday"}}, "`every` must be given"),
        (DAILY, {"schedule": {"every": 1, "weekday": "domingo"}}, "policy.schedule.weekday"),
        (DAILY, {"schedule": {"every": 1, "start": "5 May"}}, "must be a date like 2024-05-05"),
        (DAILY, {"schedule": {"every": 1, "start": 7}}, "policy.schedule.start` must be a date"),
        (DAILY, {"schedule": {"every": 1, "weekday": "monday", "start": "2024-05-05"}}, "2024-05-05, a sunday"),
        (NUMBERED, {"schedule": {"every": 1, "weekday": "sunday"}}, "must not name a weekday or a date"),
        (NUMBERED, {"schedule": {"every": 1, "start": "2024-05-05"}}, "must not name a weekday or a date"),
        (DAILY, {"colour": 1}, "`policy.colour` is not a setting"),
    ],
)
def test_what_can_not_be_used_is_refused(config, policy, said):
    with pytest.raises(ConfigError, match=said):
        with_policy(config, **policy)
