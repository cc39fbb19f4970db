"""The setting `data.columns.weight`: where it goes, by what the model makes of weights, and where it is refused."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.config import Config, ConfigError
from pipeline.parameters.eval_config import eval_config
from pipeline.parameters.graph_parameters import GraphParameters

HEEDLESS = "tests.trainer.models.test_models.Own"


def settings(weight: str | None, **model: Any) -> Config:
    columns = {"key": "user", "item": "item", "timestamp": "time", "weight": weight}
    metric = {"ranking": "rmse"}.get(model["type"], "recall")
    if model.get("params", {}).get("objective") == "click":
        metric = "auc"
    gate = {"thresholds": {metric: {"floor": 0.5}}}
    return Config.model_validate(
        {"name": "shop", "data": {"path": "events", "columns": columns}, "model": model, "gate": gate}
    )


@pytest.mark.parametrize(
    ("model", "weighted"),
    [
        ({"type": "two_tower"}, True),
        ({"type": "sasrec"}, True),
        ({"type": "hstu"}, True),
        ({"type": "ranking", "params": {"objective": "click"}}, True),
        ({"type": "ranking"}, False),
    ],
)
def test_events_are_measured_by_their_weight_where_they_are_learned_by_it(model, weighted):
    config = settings("stars", **model)
    given = GraphParameters.of(config)
    assert given.weighted == weighted
    (candidate, _) = eval_config(config, given.metrics, given.weighted).model_specs
    keys = {candidate.example_weight_key, *candidate.example_weight_keys.values()} - {""}
    assert keys == ({"weight"} if weighted else set())
    assert not GraphParameters.of(settings(None, **model)).weighted


def test_a_model_that_makes_no_use_of_weights_gets_none():
    with pytest.raises(ConfigError, match=r"`data.columns.weight` must be of use.*'stars' for `tests.trainer.*Own`"):
        GraphParameters.of(settings("stars", type=HEEDLESS))
    assert not GraphParameters.of(settings(None, type=HEEDLESS)).weighted
