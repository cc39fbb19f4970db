"""Durations in the settings: the same time whatever a span is."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import pydantic
import pytest

from pipeline.config import Config
from pipeline.config.durations import IN_HOURS, SETTINGS, hours_of

COLUMNS = {"key": "user", "item": "item", "timestamp": "time"}
DAILY = {"path": ".", "columns": COLUMNS}
HOURLY = {**DAILY, "pattern": "{SPAN}/*.csv", "span_hours": 1}


def config(data: dict[str, Any], setting: str, value: Any) -> Config:
    raw: Any = value
    for name in reversed(setting.split(".")):
        raw = {name: raw}
    if setting == "push.places_for_new.younger_than":
        raw["push"]["places_for_new"]["places"] = 1
    if setting == "policy.rest_spans":
        raw["update"] = {"max_owed_spans": 1000}
    return Config.model_validate({"name": "shop", "data": data, **raw})


@pytest.mark.parametrize("setting", SETTINGS)
def test_seven_days_are_seven_days_in_every_setting(setting):
    get = attrgetter(setting)
    assert get(config(HOURLY, setting, "7d")) == 168
    assert get(config(DAILY, setting, "1w")) == (168 if setting in IN_HOURS else 7)
    assert get(config(HOURLY, setting, 20)) == 20


def test_seven_days_are_seven_days_in_every_encoders_tuning():
    encoders = {name: {"path": name, "tuning": {"every": every}} for name, every in (("first", "7d"), ("second", 20))}
    encoders["third"] = {"path": "third"}
    for data, spans in ((HOURLY, 168), (DAILY, 7)):
        read = config(data, "encoders", encoders).encoders
        assert [of.tuning and of.tuning.every for of in read.values()] == [spans, 20, None]


@pytest.mark.parametrize(("text", "hours"), [("36h", 36), ("7d", 168), ("2w", 336), ("1.5d", 36), (" 3 d ", 72)])
def test_what_a_duration_says(text, hours):
    assert hours_of(text) == hours


@pytest.mark.parametrize("text", ["90m", "d", "-1d", "1d12h", "seven days", "0h"])
def test_what_is_none_is_refused_with_the_form(text):
    with pytest.raises(pydantic.ValidationError, match=r"must be a number of spans, or a duration like 36h, 7d or 2w"):
        config(DAILY, "update.max_owed_spans", text)


def test_a_part_of_a_span_is_refused_where_spans_are_counted_and_not_where_they_measure():
    with pytest.raises(
        pydantic.ValidationError, match=r"whole spans, of 24 hours each\. Received: '36h', which are 1\.5"
    ):
        config(DAILY, "update.max_owed_spans", "36h")
    assert config(DAILY, "vocabulary.half_life_spans", "36h").vocabulary.half_life_spans == 1.5


def test_where_a_span_has_no_length_a_duration_is_refused_but_in_hours():
    numbered = {**DAILY, "pattern": "{SPAN}/*.csv"}
    with pytest.raises(pydantic.ValidationError, match=r"can be a duration where a span has a length"):
        config(numbered, "update.retrain_spans", "7d")
    assert config(numbered, "history.keys_end_after", "1d").history.keys_end_after == 24
