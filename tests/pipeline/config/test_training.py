"""The section `training`: what can be shared out, what is refused by name, and what reaches the trainer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.incremental_trainer.settings import Settings, SharedTraining
from pipeline.config import Config, ConfigError, with_settings
from pipeline.parameters.graph_parameters import GraphParameters
from tests.pipeline.config.test_update import PLAIN


def changed(**settings: Any) -> Config:
    return with_settings(PLAIN, settings, "the test")


def test_the_strategy_reaches_the_trainer_and_survives_json():
    trainer = GraphParameters.of(changed(training={"strategy": "multi_worker", "restarts": 5})).trainer
    assert trainer.training == SharedTraining("multi_worker", 5, str(PLAIN.root / "workers"))
    assert Settings.from_json(trainer.to_json()) == trainer
    assert GraphParameters.of(changed(training={"strategy": "mirrored"})).trainer.training.strategy == "mirrored"


def test_none_leaves_no_trace_in_what_the_cache_of_earlier_runs_is_asked_by():
    trainer = GraphParameters.of(PLAIN).trainer
    assert trainer.training is None
    assert "training" not in json.loads(trainer.to_json())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"training": {"strategy": "parameter_server"}},
            r"mirrored or multi_worker\. Received: 'parameter_server', whose",
        ),
        ({"training": {"strategy": "horovod"}}, r"training\.strategy"),
        ({"training": {"strategy": "multi_worker", "restarts": -1}}, r"training\.restarts.*greater than or equal to 0"),
        (
            {"training": {"strategy": "mirrored"}, "update": {"jit_compile": True}},
            r"held to a training on one replica .*Received: mirrored beside `update\.jit_compile`\. Take",
        ),
        (
            {"training": {"strategy": "multi_worker"}, "update": {"precision": "mixed_float16"}},
            r"Received: multi_worker beside `update\.precision`",
        ),
        (
            {
                "training": {"strategy": "mirrored"},
                "update": {
                    "stability": {"replay": {"budget": 9}, "distillation": {"weight": 1.0}},
                    "teacher": {"type": "sasrec"},
                    "schedule": {"rates": [0.1, 0.2]},
                },
                "features": {"context": [{"name": "device", "kind": "category"}]},
            },
            r"\.replay`, `update\.stability\.distillation`, `update\.teacher`, `update\.schedule\.rates`, `features`\.",
        ),
    ],
)
def test_what_can_not_be_shared_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        changed(**settings)


def test_a_model_that_does_not_say_that_it_can_be_shared_is_refused():
    other = {"model": {"type": "mf"}}
    GraphParameters.of(changed(**other))
    with pytest.raises(ConfigError, match=r"Received: mirrored for `mf`\. Set none"):
        GraphParameters.of(changed(**other, training={"strategy": "mirrored"}))
