"""The sections `catalogue` and `features`: one declaration, checked where it is read."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics.stats_impl import generate_statistics_in_memory

from components.span_example_gen.settings import make_settings
from pipeline.config import ConfigError, load_config
from pipeline.parameters.event_schema import write_schema
from pipeline.parameters.graph_parameters import GraphParameters
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
        ({"name": "photo", "kind": "vector"}, r"`features.item.0`: a vector must have a `width`.*'photo'"),
        ({"name": "photo", "kind": "text", "width": 3}, r"`width` has an effect with `kind: vector` only"),
        ({"name": "brand", "kind": "category", "encoder": "m"}, r"`encoder` has an effect with `kind: text` only"),
        ({"name": "photo", "kind": "vector", "width": 0}, r"`features.item.0.width`: .*greater than or equal to 1"),
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


def test_features_of_keys_and_of_the_context_are_columns_of_the_events(tmp_path):
    declared = {"key": [{"name": "country", "kind": "category"}], "context": [{"name": "hour", "kind": "number"}]}
    config = load_config(config_file(tmp_path, features=declared))
    assert [feature.name for feature in config.features.of_query] == ["country", "hour"]
    given = GraphParameters.of(config)
    assert given.transform.query_features == given.trainer.model.query_features == config.features.of_query
    assert given.trainer.key_features == 1
    (country, hour) = make_settings(given.data, config.data.pattern, 0.1).query_features
    assert (country, hour) == config.features.of_query


@pytest.mark.parametrize("part", ["key", "context"])
@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ({"name": "bio", "kind": "text"}, "can't be learned from text: that takes an item encoder"),
        (
            {"name": "year", "kind": "number", "pattern": "\\d+"},
            "can't have a `pattern`, which no request goes through",
        ),
        ({"name": "genres", "kind": "category"}, "must have each name once among items, keys and context"),
        ({"name": "who", "kind": "id", "column": "user_id"}, "can't be the column of `data.columns.key`, which has a"),
        (
            {"name": "what", "kind": "id", "column": "item_id"},
            "can't be the column of `data.columns.item`, which is to",
        ),
        ({"name": "stars", "kind": "number", "column": "rating"}, "can't be the column of `data.columns.weight`"),
    ],
)
def test_what_no_request_can_bring_is_refused(feature, message, part, tmp_path):
    features = {"item": [{"name": "genres", "kind": "categories"}], part: [feature]}
    data = {**DATA, "columns": {**DATA["columns"], "weight": "rating"}}
    with pytest.raises(ConfigError, match=message):
        load_config(config_file(tmp_path, data=data, catalogue=CATALOGUE, features=features))


@pytest.mark.parametrize("part", ["key", "context"])
def test_a_model_that_does_not_say_that_it_takes_them_refuses_them(part, tmp_path):
    declared = {part: [{"name": "country", "kind": "category"}]}
    config = load_config(config_file(tmp_path, features=declared, model={"type": "ranking"}))
    with pytest.raises(ConfigError, match=rf"`features.{part}` must be of use.*'country'.*no feature of keys and"):
        GraphParameters.of(config)


def test_the_schema_of_events_knows_context_columns_and_features(tmp_path):
    data = {**DATA, "columns": {**DATA["columns"], "context": ["price"]}}
    declared = {"context": [{"name": "device", "kind": "category"}, {"name": "hour", "kind": "number"}]}
    config = load_config(config_file(tmp_path, data=data, features=declared))
    schema = tfdv.load_schema_text(str(write_schema(config)))
    text, numbers = pa.array([[b"a"], [b"b"]]), pa.array([[1.5], [2.0]], pa.list_(pa.float32()))
    for price in (text, numbers, pa.array([[1], None])):
        columns = {
            "key": text, "item": text, "timestamp": pa.array([[1], [2]]), "weight": numbers, "price": price,
            "feature_device": pa.array([[b"tv"], None]), "feature_hour": numbers,
        }  # fmt: skip
        anomalies = tfdv.validate_statistics(_statistics(columns), schema).anomaly_info
        assert not anomalies, anomalies
    new = _statistics({**columns, "colour": text, "feature_hour": text})
    assert sorted(tfdv.validate_statistics(new, schema).anomaly_info) == ["colour", "feature_hour"]


def _statistics(columns: dict[str, pa.Array]) -> Any:
    return generate_statistics_in_memory(pa.RecordBatch.from_pydict(columns))


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
