import dataclasses
from pathlib import Path
from typing import Any

import pydantic
import pytest
import yaml

from pipeline.config import Config, ConfigError, load_config

DATA = {"path": "events", "columns": {"key": "user_id", "item": "item_id", "timestamp": "ts"}}


def config_file(folder: Path, **settings: Any) -> Path:
    file = folder / "shop.yaml"
    file.write_text(yaml.safe_dump({"name": "shop", "data": DATA, **settings}), encoding="utf-8")
    return file


def message_of(file: Path) -> str:
    with pytest.raises(ConfigError) as error:
        load_config(file)
    return str(error.value)


def test_three_columns_and_a_path_are_enough(tmp_path):
    config = load_config(config_file(tmp_path))
    assert config.data.columns.weight is None
    assert config.data.pattern == "{YYYY}-{MM}-{DD}/*"
    assert config.data.dated
    assert config.gate.thresholds["recall"].max_drop == 0.02


def test_relative_paths_start_at_the_files_folder_from_wherever_it_is_read(tmp_path, monkeypatch):
    folder = tmp_path / "settings"
    folder.mkdir()
    file = config_file(folder, root="../out", data={**DATA, "path": "../events", "items": "items.csv"})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for given in (file, Path("../settings/shop.yaml"), "../settings/shop.yaml"):
        config = load_config(given)
        assert config.data.path.resolve() == tmp_path / "events"
        assert config.data.items == folder / "items.csv"
        assert config.root.is_absolute()
        assert config.serving_path.resolve() == tmp_path / "out" / "serving" / "shop"
        assert {config.artifacts_path.name, config.logs_path.name} == {"artifacts", "logs"}


def test_absolute_paths_stay(tmp_path):
    config = load_config(config_file(tmp_path, root="/srv/shop", data={**DATA, "path": "/srv/events"}))
    assert (config.root, config.data.path, config.data.items) == (Path("/srv/shop"), Path("/srv/events"), None)


def test_settings_are_frozen_all_the_way_down(tmp_path):
    config = load_config(config_file(tmp_path))
    for section, name in (
        (config, "name"),
        (config.data, "format"),
        (config.data.columns, "key"),
        (config.update, "seed"),
        (config.update.stability.replay, "budget"),
        (config.serving.index, "table"),
    ):
        with pytest.raises((pydantic.ValidationError, dataclasses.FrozenInstanceError), match=r"frozen|assign"):
            setattr(section, name, getattr(section, name))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vocabluary": {}}, "`vocabluary` is not a setting. Did you mean `vocabulary`?"),
        ({"update": {"epoch": 3}}, "`update.epoch` is not a setting. Did you mean `epochs`?"),
        ({"update": {"Learning-Rate": 0.1}}, "`update.Learning-Rate` is not a setting. Did you mean `learning_rate`?"),
        ({"data": {**DATA, "colums": {}}}, "`data.colums` is not a setting. Did you mean `columns`?"),
        (
            {"data": {**DATA, "columns": {**DATA["columns"], "wieght": "n"}}},
            "`data.columns.wieght` is not a setting. Did you mean `weight`?",
        ),
        (
            {"data": {**DATA, "reject": [{"column": "a", "matches": "C", "reasn": "x"}]}},
            "`data.reject.0.reasn` is not a setting. Did you mean `reason`?",
        ),
        (
            {"gate": {"thresholds": {"recall": {"max-drop": 0.1}}}},
            "`gate.thresholds.recall.max-drop` is not a setting. Did you mean `max_drop`?",
        ),
        (
            {"gate": {"slice_thresholds": {"item_new": {"recall": {"flor": 0.1}}}}},
            "`gate.slice_thresholds.item_new.recall.flor` is not a setting. Did you mean `floor`?",
        ),
    ],
)
def test_an_unknown_setting_names_the_nearest_known_one(tmp_path, settings, message):
    assert message in message_of(config_file(tmp_path, **settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"update": {"epochs": "many"}}, "`update.epochs`: Input should be a valid integer"),
        ({"update": {"epochs": "many"}}, "Received: 'many'."),
        ({"update": {"epochs": 0}}, "`update.epochs`: Input should be greater than or equal to 1. Received: 0."),
        ({"update": {"optimizer": "sgd"}}, "`update.optimizer`: Input should be 'adagrad' or 'adam'. Received: 'sgd'."),
        ({"split": {"eval_fraction": 1}}, "`split.eval_fraction`: Input should be less than 1. Received: 1."),
        ({"data": {**DATA, "columns": "user_id"}}, "`data.columns`: "),
        ({"data": {"path": "events"}}, "`data.columns` must be given."),
        ({"name": "my shop"}, "`name`: "),
        (
            {"data": {**DATA, "pattern": "*.csv"}},
            "`data.pattern`: must name a span by {YYYY}, {MM} and {DD}, or by {SPAN}",
        ),
        ({"data": {**DATA, "pattern": "{YYYY}-{MM}/*"}}, "Received: '{YYYY}-{MM}/*'. Write for example"),
        ({"data": {**DATA, "pattern": "{YYYY}-{MM}-{DD}/{SPAN}"}}, "`data.pattern`: must name a span"),
        ({"data": {**DATA, "pattern": "../x"}}, "Received: '../x'."),
        (
            {"data": {**DATA, "reject": [{"column": "a", "matches": "C(", "reason": "x"}]}},
            "`data.reject.0.matches`: must be a regular expression",
        ),
    ],
)
def test_a_wrong_value_says_the_rule_and_what_was_received(tmp_path, settings, message):
    assert message in message_of(config_file(tmp_path, **settings))


def test_all_mistakes_are_named_at_once(tmp_path):
    message = message_of(config_file(tmp_path, epochs=1, update={"epochs": 0}, split={"fraction": 1}))
    assert all(f"`{where}`" in message for where in ("epochs", "update.epochs", "split.fraction"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold keys and values. Received: an empty file."),
        ("- a\n", "must hold keys and values. Received: list."),
        ("name: [\n", "must be a YAML file that can be read."),
        ("name: a\nname: b\n", "received `name` twice"),
        ("update: {seed: 1, seed: 2}\n", "received `seed` twice"),
        ("? [a]\n: 1\n", "must be a YAML file that can be read."),
    ],
)
def test_a_file_that_is_no_settings_file(tmp_path, text, message):
    file = tmp_path / "shop.yaml"
    file.write_text(text)
    assert message in message_of(file)


def test_shared_sections_can_be_merged_and_overridden(tmp_path):
    file = config_file(tmp_path)
    file.write_text(
        file.read_text()
        + "gate:\n  thresholds:\n    recall: &strict {floor: 0.1, max_drop: 0.0}\n    ndcg: {<<: *strict, floor: 0.2}\n"
    )
    thresholds = load_config(file).gate.thresholds
    assert (thresholds["recall"].floor, thresholds["ndcg"].floor, thresholds["ndcg"].max_drop) == (0.1, 0.2, 0.0)


def test_a_missing_file_leads_to_init_and_a_folder_is_no_file(tmp_path):
    assert "Write one with `warmspan init`." in message_of(tmp_path / "none.yaml")
    assert "must be a YAML file" in message_of(tmp_path)


@pytest.mark.parametrize("pattern", ["{SPAN}/*", "hour-{SPAN:4}/v{VERSION}/*.csv", "{YYYY}/{MM}/{DD}/*.parquet"])
def test_patterns_that_name_a_span(tmp_path, pattern):
    data = load_config(config_file(tmp_path, data={**DATA, "pattern": pattern})).data
    assert data.pattern == pattern
    assert data.dated == ("{YYYY}" in pattern)


EXAMPLES = sorted((Path(__file__).resolve().parents[3] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_examples_can_be_read(file):
    config = load_config(file)
    assert isinstance(config, Config)
    assert config.name == file.stem
