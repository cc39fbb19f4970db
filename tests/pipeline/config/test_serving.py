"""The section `serving`: what it takes, what it refuses, and where it goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.config import ConfigError, load_config
from pipeline.parameters.graph_parameters import GraphParameters
from serving.bundle.index_settings import IndexSettings
from tests.pipeline.config.test_config import DATA, config_file


def load(folder: Path, **serving: Any):
    return load_config(config_file(folder, serving=serving))


def test_without_it_everything_is_exact_and_titles_come_along(tmp_path: Path) -> None:
    config = load_config(config_file(tmp_path))
    settings = GraphParameters.of(config).trainer
    assert (settings.columns, settings.available_column, settings.index) == (None, None, IndexSettings())
    assert config.serving.latency_budget_ms == 250


def test_the_trainer_is_told(tmp_path: Path) -> None:
    index = {"type": "approximate", "table": "int8", "lists": 50, "probes": 4, "min_recall": 0.9, "pruning": 0.5}
    serving = {"columns": ["title", "genres"], "available": "sold", "index": index}
    config = load_config(config_file(tmp_path, data={**DATA, "items": "items.csv"}, serving=serving))
    settings = GraphParameters.of(config).trainer
    assert settings.columns == ("title", "genres")
    assert settings.available_column == "sold"
    assert settings.index == IndexSettings("approximate", "int8", 50, 4, 0.9, 0.5)
    assert type(settings).from_json(settings.to_json()) == settings


def test_an_index_that_the_model_has_no_room_for_is_refused_before_anything_runs(tmp_path: Path) -> None:
    for type_, index, words in (
        ("ranking", {"table": "int8"}, "can be int8 only where .* Received: model ranking"),
        ("sasrec", {"type": "approximate"}, "whose scores add to a dot product what was counted"),
    ):
        config = load_config(config_file(tmp_path, serving={"index": index}, model={"type": type_}))
        with pytest.raises(ConfigError, match=words):
            GraphParameters.of(config)
    GraphParameters.of(
        load_config(config_file(tmp_path, serving={"index": {"table": "int8"}}, model={"type": "sasrec"}))
    )


@pytest.mark.parametrize(
    ("serving", "words"),
    [
        ({"columns": ["title", "scores"]}, r"`serving.columns`: must not be named as an answer is .* \['scores'\]"),
        ({"index": {"probes": 3}}, "`serving.index`: must be `type: approximate` where `lists` or `probes` are given"),
        ({"index": {"table": "int4"}}, "`serving.index.table`"),
        ({"index": {"min_recall": 1.5}}, "`serving.index.min_recall`"),
        ({"index": {"pruning": 1}}, "`serving.index.pruning`"),
        ({"latency_budget_ms": 0}, "`serving.latency_budget_ms`"),
        ({"latency": 3}, "Did you mean `latency_budget_ms`"),
    ],
)
def test_what_can_t_be_used_is_refused(tmp_path: Path, serving: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load(tmp_path, **serving)
