"""The sections `catalogue` and `features`: one declaration, checked where it is read."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.config import ConfigError, load_config
from tests.pipeline.config.test_config import DATA, config_file

CATALOGUE = {"path": "catalogue"}


def item(**feature: Any) -> dict[str, Any]:
    return {"catalogue": CATALOGUE, "features": {"item": [feature]}}


def test_without_the_sections_there_is_neither(tmp_path):
    config = load_config(config_file(tmp_path))
    assert config.catalogue is None
    assert config.features.item == ()


def test_a_feature_is_its_own_column_where_none_is_named(tmp_path):
    config = load_config(config_file(tmp_path, **item(name="genres", kind="categories")))
    (feature,) = config.features.item
    assert (feature.source, feature.separator, feature.missing, feature.max_values) == ("genres", "|", "row", 8)
    assert config.catalogue.path == tmp_path / "catalogue"
    assert config.catalogue.delivery == "snapshot"
    with pytest.raises(AttributeError):
        feature.kind = "number"


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ({"name": "blurb", "kind": "text"}, r"`features.item`: can't be learned from text yet.*item encoder"),
        ({"name": "photo", "kind": "vector"}, r"`features.item`: can't be learned from vector yet"),
        ({"name": "brand", "kind": "word"}, r"`features.item.0.kind`: .*'category'.*Received: 'word'"),
        ({"name": "since", "kind": "time"}, r"`features.item.0.name`: must not be one of item, since, .*`column`"),
        ({"name": "a/b", "kind": "number"}, r"`features.item.0.name`: .*Received: 'a/b'"),
        (
            {"name": "year", "kind": "number", "max_values": 3},
            r"`max_values` has an effect with `kind: categories`",
        ),
        ({"name": "brand", "kind": "category", "unit": "ms"}, r"`unit` has an effect with `kind: time` only"),
        ({"name": "price", "kind": "number", "pattern": "("}, r"`features.item.0.pattern`: must be a regular expr"),
        ({"name": "brand", "kind": "category", "mising": "row"}, r"`features.item.0.mising` is not .*`missing`"),
    ],
)
def test_what_can_not_be_declared_is_said_by_its_name(feature, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        load_config(config_file(tmp_path, **item(**feature)))


def test_a_name_is_given_once(tmp_path):
    twice = [{"name": "brand", "kind": "category"}, {"name": "brand", "kind": "id"}]
    with pytest.raises(ConfigError, match=r"`features.item`: must have each name once. Received: 'brand' more"):
        load_config(config_file(tmp_path, catalogue=CATALOGUE, features={"item": twice}))


@pytest.mark.parametrize("part", ["key", "context"])
def test_features_of_keys_and_events_are_refused_until_there_are_some(part, tmp_path):
    declared = {part: [{"name": "country", "kind": "category"}]}
    with pytest.raises(ConfigError, match=rf"`features.{part}`: can't be learned from yet.*'country'"):
        load_config(config_file(tmp_path, catalogue=CATALOGUE, features=declared))


@pytest.mark.parametrize(
    ("catalogue", "message"),
    [
        ({"pattern": "daily/*.csv"}, r"`catalogue.pattern`: must name a date by .*Received: 'daily/\*.csv'"),
        ({"pattern": None, "delivery": "changes"}, r"`delivery: changes` needs a `pattern`"),
        ({"valid_from": "from"}, r"`valid_from` has an effect with `delivery: changes` only"),
        ({"delivery": "changes", "max_withdrawn_fraction": 0.1}, r"has an effect with `delivery: snapshot` only"),
        ({"pattern": "{SPAN}/*"}, r"must count spans as `data.pattern` does.*Received: '{SPAN}/\*'"),
    ],
)
def test_a_catalogue_that_can_not_be_followed_is_refused(catalogue, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        load_config(config_file(tmp_path, catalogue={**CATALOGUE, **catalogue}))


def test_changes_of_numbered_spans_have_no_dates_to_hold_from(tmp_path):
    numbered = {"data": {**DATA, "pattern": "{SPAN}/*"}}
    changes = {**CATALOGUE, "pattern": "{SPAN}/*", "delivery": "changes", "valid_from": "from"}
    with pytest.raises(ConfigError, match=r"`catalogue.valid_from` needs spans that are dates"):
        load_config(config_file(tmp_path, **numbered, catalogue=changes))


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ({"places": 2}, r"`push.places_for_new`: must say which items are new.*Received: neither"),
        ({"places": 20, "younger_than": 7}, r"`push.places_for_new.places` must be less than .* 20 .*Received: 20"),
        ({"places": 0, "younger_than": 7}, r"`push.places_for_new.places`: .*"),
    ],
)
def test_places_for_new_items_say_what_is_new_and_leave_room(places, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        load_config(config_file(tmp_path, catalogue=CATALOGUE, push={"places_for_new": places}))
