"""Features of key and context from files to training sequences: counted, kept, and never of another event."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.span_example_gen import SpanError
from tests.components.query_days import TRANSFORM, as_csv, read_day, span_of, transform_day
from trainer.features.declaration import FIRST_ROW, MISSING, UNKNOWN, Feature
from trainer.features.feature_state import FeatureState
from trainer.held_out_parts import held_out_files
from trainer.input_pipeline import Positions, Sequences, read_held_out, read_sequences

FIRST, SECOND, THIRD = "2024-05-01", "2024-05-02", "2024-05-03"
DEVICE, TAGS, AGE = (
    Feature(name="device", kind="category"),
    Feature(name="tags", kind="categories", max_values=2),
    Feature(name="age", kind="number"),
)
FEATURES = (DEVICE, TAGS, AGE)
SETTINGS = dataclasses.replace(TRANSFORM, query_features=FEATURES)
COLUMNS = ("user", "film", "at", "device", "tags", "age")


def event(day: str, place: int, user: str, **cells: Any) -> dict[str, Any]:
    return {"user": user, "film": f"film {place}", "at": span_of(day) * 86_400 + place, **cells}


def counts(ingested: Any) -> dict[str, dict[str, int]]:
    return json.loads(ingested.examples.get_string_custom_property("features"))


def test_missing_and_unreadable_values_are_counted_and_the_balance_is_right(tmp_path):
    rows = [
        event(FIRST, 1, "a", device=" tv ", tags="x|y|x|z", age="31"),
        event(FIRST, 2, "a", device="NULL", tags="", age="old"),
        event(FIRST, 3, "a", device="", tags="none|y", age="1e39"),
        event(FIRST, 3, "a", device="", tags="none|y", age="1e39"),
        {**event(FIRST, 4, ""), "device": "tv"},
    ]
    ingested = read_day(tmp_path, FIRST, as_csv(rows, COLUMNS), 0.0, features=FEATURES, max_reject_fraction=0.5)
    assert counts(ingested) == {
        "age": {"missing": 0, "unreadable": 3},
        "device": {"missing": 3, "unreadable": 0},
        "tags": {"missing": 1, "unreadable": 0},
    }
    assert ingested.count("rows") == ingested.count("events") + ingested.count("rejects") + ingested.count("duplicates")
    assert ingested.count("duplicates") == 1
    events = sorted(ingested.all_events, key=lambda of: of["timestamp"])
    assert [of.get("feature_device") for of in events] == [b"tv", None, None]
    assert [of.get("feature_tags") for of in events] == [b"x\x1fy", None, b"y"]
    assert events[0]["feature_age"] == 31.0
    assert all(np.isnan(of["feature_age"]) for of in events[1:])


def test_a_day_without_the_column_has_nothing_but_missing_values_and_says_so(tmp_path, caplog):
    rows = [event(FIRST, place, "a", tags="x", age="31") for place in range(4)]
    with caplog.at_level(logging.WARNING):
        ingested = read_day(tmp_path, FIRST, as_csv(rows, ("user", "film", "at", "tags", "age")), features=FEATURES)
    assert counts(ingested)["device"] == {"missing": 4, "unreadable": 0}
    assert "No event of span 2024-05-01 has a value of the feature device (column device)" in caplog.text
    assert "feature tags" not in caplog.text
    where = transform_day(tmp_path / "state", ingested, FIRST, settings=SETTINGS)
    assert (learned(where).query_features["feature_device"][:, 0] == MISSING).all()


@pytest.mark.parametrize("there", [True, False])
def test_a_feature_that_must_be_there_rejects_events_without_it(there, tmp_path):
    must = dataclasses.replace(DEVICE, missing="reject")
    rows = [event(FIRST, place, "a", device="tv" if place else "") for place in range(20)]
    columns = ("user", "film", "at", "device") if there else ("user", "film", "at")
    if there:
        ingested = read_day(tmp_path, FIRST, as_csv(rows, columns), features=(must,))
        assert ingested.reasons == {"no_value": 1}
        assert ingested.rejects == [(f"{FIRST}/events.csv", "2", "no_value", "")]
    else:
        with pytest.raises(SpanError, match=r"must have the columns that the settings name.*Missing: 'device'"):
            read_day(tmp_path, FIRST, as_csv(rows, columns), features=(must,))


def test_lists_numbers_and_truth_values_of_typed_files(tmp_path):
    rows = [
        event(FIRST, 1, "a", device=7, tags=["x", None, "y"], age=31),
        event(FIRST, 2, "a", device=True, tags="x|y", age=None),
        event(FIRST, 3, "a", tags=[], age=1.5),
    ]
    lines = "\n".join(json.dumps(row) for row in rows)
    ingested = read_day(tmp_path, FIRST, lines, 0.0, features=FEATURES, format="jsonl")
    events = sorted(ingested.all_events, key=lambda of: of["timestamp"])
    assert [of.get("feature_tags") for of in events] == [b"x\x1fy", b"x\x1fy", None]
    assert [of.get("feature_age") for of in events] == [31.0, None, 1.5]
    assert events[0]["feature_device"] == b"7"


def test_a_context_column_of_the_same_name_stays_what_it_is(tmp_path):
    rows = [event(FIRST, place, "a", device="tv ", tags="", age="9") for place in range(3)]
    columns = {"key": "user", "item": "film", "timestamp": "at", "context": ["device", "age"]}
    ingested = read_day(tmp_path, FIRST, as_csv(rows, COLUMNS), 0.0, features=FEATURES, columns=columns)
    (first, *_) = ingested.all_events
    assert (first["device"], first["feature_device"]) == (b"tv ", b"tv")
    assert (first["age"], first["feature_age"]) == (b"9", 9.0)


def learned(where: Any) -> Positions:
    return sequences(where).positions()


def sequences(where: Any) -> Sequences:
    return read_sequences(sorted(str(path) for path in (Path(where.sequences) / "Split-train").glob("*.gz")))


def held_out(where: Any) -> Positions:
    return read_held_out(held_out_files(where.held_out))[0]


def by_time(positions: Positions) -> dict[int, dict[str, list]]:
    """Of each position, by the second of its day, the values of its features."""
    return {
        int(time // 1000 % 86_400): {
            name: np.atleast_1d(of[place]).tolist() for name, of in positions.query_features.items()
        }
        for place, time in enumerate(positions.timestamp)
    }


def test_every_event_is_learned_with_what_was_known_at_it(tmp_path):
    first = [
        event(FIRST, 10, "a", device="tv", tags="x", age="1"),
        event(FIRST, 20, "b", device="phone", tags="y|x", age=""),
        event(FIRST, 30, "a", device="", age="3"),
        event(FIRST, 40, "b", device="watch", tags="w", age="4"),
        event(FIRST, 50, "a", device="tv", age="x"),
    ]
    where = transform_day(
        tmp_path / "state", read_day(tmp_path, FIRST, as_csv(first, COLUMNS), 0.4, features=FEATURES), FIRST,
        settings=SETTINGS,
    )  # fmt: skip
    tv, phone, watch = FIRST_ROW, FIRST_ROW + 1, FIRST_ROW + 2
    got = by_time(learned(where))
    assert {place: of["feature_device"] for place, of in got.items()} == {10: [tv], 20: [phone], 30: [MISSING]}
    assert got[20]["feature_tags"] == [FIRST_ROW + 1, FIRST_ROW]
    assert np.isnan(got[20]["feature_age"]).all()
    waiting = by_time(held_out(where))
    assert {place: of["feature_device"] for place, of in waiting.items()} == {40: [UNKNOWN], 50: [tv]}
    assert waiting[50]["feature_age"] == [np.inf]
    state = FeatureState.load(where.vocabulary, FEATURES)
    assert state.words["device"].ids.to_pylist() == [b"tv", b"phone"]
    assert state.numbers["age"].values.tolist() == [1.0, 3.0]

    # What was held out is learned on the next day, with the words that it has brought.
    second = [event(SECOND, 10, "a", device="radio", age="7"), event(SECOND, 20, "c", device="tv")]
    after = transform_day(
        tmp_path / "state", read_day(tmp_path, SECOND, as_csv(second, COLUMNS), 0.0, features=FEATURES), SECOND, FIRST,
        settings=SETTINGS,
    )  # fmt: skip
    state = FeatureState.load(after.vocabulary, FEATURES)
    assert state.words["device"].ids.to_pylist() == [b"tv", b"phone", b"watch", b"radio"]
    got = by_time(learned(after))
    assert {place: of["feature_device"] for place, of in got.items()} == {
        40: [watch], 50: [tv], 10: [FIRST_ROW + 3], 20: [tv],
    }  # fmt: skip
    assert state.numbers["age"].values.tolist() == [1.0, 3.0, 4.0, 7.0]


def test_history_keeps_what_was_known_at_events_that_are_still_to_be_learned_and_no_more(tmp_path):
    first = [event(FIRST, place, "a", device="tv", tags="x", age="1") for place in range(5)]
    where = transform_day(
        tmp_path / "state", read_day(tmp_path, FIRST, as_csv(first, COLUMNS), 0.2, features=FEATURES), FIRST,
        settings=SETTINGS,
    )  # fmt: skip
    (row,) = (row for path in Path(where.history).glob("*.parquet") for row in pq.read_table(path).to_pylist())
    assert row["feature_device"] == [None] * 4 + [b"tv"]
    assert row["held_out"] == 1


def test_features_come_and_go_from_day_to_day(tmp_path):
    where, before = {}, None
    age_as_words = Feature(name="age", kind="category")
    for day, features in ((FIRST, (DEVICE,)), (SECOND, FEATURES), (THIRD, (TAGS, age_as_words))):
        rows = [event(day, place, "a", device="tv", tags="x", age=place) for place in range(5)]
        where[day] = transform_day(
            tmp_path / "state", read_day(tmp_path, day, as_csv(rows, COLUMNS), 0.2, features=features), day, before,
            settings=dataclasses.replace(TRANSFORM, query_features=features),
        )  # fmt: skip
        before = day
    second = learned(where[SECOND])
    # The first is of yesterday, when nobody asked for its age.
    assert second.query_features["feature_device"][:, 0].tolist() == [FIRST_ROW] * 5
    assert np.isnan(second.query_features["feature_age"]).tolist() == [True] + [False] * 4
    third = learned(where[THIRD])
    assert sorted(third.query_features) == ["feature_age", "feature_tags"]
    # What was a number yesterday is no word of today's.
    assert third.query_features["feature_age"][:, 0].tolist() == [MISSING, *range(FIRST_ROW, FIRST_ROW + 4)]


def test_a_word_waits_for_enough_events_over_all_days(tmp_path):
    rare = (dataclasses.replace(DEVICE, min_count=3),)
    settings, before = dataclasses.replace(TRANSFORM, query_features=rare), None
    words = []
    for day in (FIRST, SECOND, THIRD):
        rows = [event(day, place, "a", device=device) for place, device in enumerate(("tv", day, "tv"))]
        ingested = read_day(tmp_path, day, as_csv(rows, COLUMNS), 0.0, features=rare)
        where = transform_day(tmp_path / "state", ingested, day, before, settings)
        words.append(FeatureState.load(where.vocabulary, rare).words["device"].ids.to_pylist())
        before = day
    assert words == [[], [b"tv"], [b"tv"]]
