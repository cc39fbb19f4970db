"""Vocabularies of words and statistics of numbers, from day to day."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.features.small_catalogue import FEATURES, of_items, table, vocabulary
from trainer.features.declaration import FIRST_ROW, MISSING, UNKNOWN, Feature
from trainer.features.feature_state import FeatureState, as_numbers, word_rows
from trainer.features.number_statistics import KNOTS, NumberStatistics

_NUMBERS = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=700)


def test_words_get_rows_as_they_come_and_keep_them(tmp_path):
    first = table({"a": {"kind": "x", "tags": ["p", "q"]}, "b": {"kind": "y", "tags": ["q"]}})
    state = FeatureState.load(None, FEATURES).grown(first, FEATURES, 1, -1)
    state.save(tmp_path, FEATURES)
    second = table({"c": {"kind": "w"}, "b": {"kind": "x", "tags": ["r", "q"]}}, span=2)
    grown = FeatureState.load(tmp_path, FEATURES).grown(second, FEATURES, 2, 1)
    assert grown.words["kind"].ids.to_pylist() == [b"x", b"y", b"w"]
    assert grown.words["tags"].ids.to_pylist() == [b"p", b"q", b"r"]
    assert grown.words["kind"].rows_of(["y", "never"], UNKNOWN).tolist() == [FIRST_ROW + 1, UNKNOWN]
    assert grown.sizes(FEATURES) == (("feature_kind", 6), ("feature_tags", 6))


def test_a_word_waits_for_enough_items_that_are_sold():
    features = [Feature(name="kind", kind="category", min_count=2)]
    some = {"a": {"kind": "x"}, "b": {"kind": "y"}, "c": {"kind": "y", "withdrawn": True}}
    state = FeatureState.load(None, features).grown(table(some, features=features), features, 1, -1)
    assert state.words["kind"].ids.to_pylist() == []
    more = some | {"d": {"kind": "y"}}
    assert state.grown(table(more, features=features), features, 2, 1).words["kind"].ids.to_pylist() == [b"y"]


def test_statistics_take_in_what_is_new_or_other(tmp_path):
    state = FeatureState.load(None, FEATURES).grown(table({"a": {"price": 1.0}, "b": {}}), FEATURES, 1, -1)
    state.save(tmp_path, FEATURES)
    items = {"a": {"price": 1.0, "changed": 1}, "b": {"price": 5.0, "changed": 2}, "c": {"price": float("nan")}}
    grown = FeatureState.load(tmp_path, FEATURES).grown(table(items, span=2), FEATURES, 2, 1)
    assert grown.numbers["price"].values.tolist() == [1.0, 5.0]
    assert grown.numbers["price"].counts.tolist() == [1.0, 1.0]


def test_missing_and_unknown_are_two_rows():
    words = vocabulary(["x"])
    values = pa.array(["x", None, "z"])
    known = FeatureState.load(None, FEATURES[:1]).grown(table({"a": {"kind": "x"}}), FEATURES[:1], 1, -1)
    assert words.size == 3
    assert word_rows(values, known.words["kind"], 1).tolist() == [[FIRST_ROW], [MISSING], [UNKNOWN]]
    lists = pa.array([["x", "z", "x", "x"], [], None, ["z"]], pa.list_(pa.string()))
    expected = [[FIRST_ROW, UNKNOWN, FIRST_ROW], [MISSING, 0, 0], [MISSING, 0, 0], [UNKNOWN, 0, 0]]
    assert word_rows(lists, known.words["kind"], 3).tolist() == expected
    assert word_rows(lists[1:], known.words["kind"], 3).tolist() == expected[1:]


def test_a_number_that_is_missing_is_other_than_one_that_can_not_be_read():
    price, time = FEATURES[2], Feature(name="at", kind="time")
    assert as_numbers(pa.array([1.5, None, float("nan")]), price).tolist()[0::2] == [1.5, np.inf]
    assert np.isnan(as_numbers(pa.array([None], pa.float64()), price)).all()
    assert as_numbers(pa.chunked_array([pa.array([86_400_000.0 * 3])]), time).tolist() == [3.0]


def test_of_an_item_that_the_catalogue_does_not_name_all_is_missing():
    items = vocabulary(["a", "stray"], ["c"])
    features = of_items(items, table({"c": {"kind": "x", "price": 2.0}, "a": {"kind": "y", "tags": ["p"]}}))
    assert features.words["kind"].ravel().tolist() == [0, 0, FIRST_ROW + 1, MISSING, FIRST_ROW]
    assert features.words["tags"][:, 0].tolist() == [0, 0, FIRST_ROW, MISSING, MISSING]
    assert np.isneginf(features.numbers["price"][:2]).all()
    assert np.isnan(features.numbers["price"][2:4]).all()
    assert features.numbers["price"][4] == 2.0
    assert features.learned.tolist() == [False, False, True, True, False]


@given(_NUMBERS, _NUMBERS)
def test_a_summary_is_of_all_that_came(first, second):
    statistics = NumberStatistics.empty().add(np.array(first)).add(np.array(second))
    assert statistics.counts.sum() == pytest.approx(len(first) + len(second))
    assert len(statistics.values) <= 512
    assert (np.diff(statistics.values) > 0).all()
    assert [statistics.values[0], statistics.values[-1]] == [min(first + second), max(first + second)]
    knots = statistics.knots()
    assert (len(knots), knots.dtype) == (KNOTS, np.float32)
    assert (np.diff(knots) > 0).all()


def test_a_summary_of_many_values_has_their_quantiles(tmp_path):
    values = np.random.default_rng(1).lognormal(3, 1, 20_000)
    statistics = NumberStatistics.empty()
    for part in np.split(values, 40):
        statistics = statistics.add(part)
    exact = np.quantile(values, np.linspace(0, 1, KNOTS))[1:-1]
    assert statistics.knots()[1:-1] == pytest.approx(exact, rel=0.05)
    statistics.save(tmp_path / "x.json")
    assert (NumberStatistics.load(tmp_path / "x.json").knots() == statistics.knots()).all()
    assert np.isnan(NumberStatistics.load(tmp_path / "none.json").knots()).all()
