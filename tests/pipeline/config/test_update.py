"""The section `update`: what can be set, and that all of it reaches the trainer."""

from __future__ import annotations

import dataclasses

import pytest

from components.incremental_trainer.settings import Settings
from pipeline.config import Config, ConfigError, with_settings
from pipeline.parameters.graph_parameters import GraphParameters
from trainer.settings import Augmentation, Policy, TeacherSettings

PLAIN = Config.model_validate(
    {
        "name": "shop",
        "root": "run",
        "data": {"path": "events", "columns": {"key": "u", "item": "i", "timestamp": "t"}},
    }
)
EVERYTHING = {
    "epochs": 7,
    "cold_epochs": 9,
    "batch_size": 64,
    "optimizer": "adam",
    "learning_rate": 0.01,
    "initial_accumulator": 0.2,
    "clip_norm": None,
    "weight_decay": 0.01,
    "patience": 2,
    "watch": "recall",
    "new_rows": "mean",
    "seed": 4,
    "precision": "mixed_bfloat16",
    "jit_compile": True,
    "stability": {
        "replay": {"budget": 9, "fraction": 0.2, "weight": 0.3, "selection": "herding", "half_life": 3.0},
        "distillation": {
            "weight": 0.8, "adaptive": True, "temperature": 2.0, "batches": "replayed", "candidates": 100
        },
        "proximal": {"strength": 0.1},
        "ewc": {"strength": 5.0, "sample": 200, "decay": 0.5},
        "partial": {"freeze": ["places"], "rates": {"item_embedding/*": 0.1}},
        "shrink": {"factor": 0.9, "noise": 0.01, "variables": ["blocks/*"]},
        "averaging": {"share": 0.7},
    },
    "schedule": {
        "within": "plateau", "warm_up": 0.2, "final": 0.1, "slots": "decay", "keep": 0.3, "factor": 0.2, "patience": 2,
        "rates": [0.001, 0.01], "probe_steps": 5, "row_boost": 7.0, "row_touches": 50.0,
    },
    "augmentation": {"share": 0.5, "crop": 0.4, "mask": 0.3, "reorder": 0.6, "substitute": 0.2},
    "teacher": {
        "type": "sasrec", "params": {"dimension": 256}, "every": 3, "weight": 2.0, "loss": "ranking",
        "temperature": 1.0, "top_k": 5, "candidates": 500, "learning_rate": 0.002, "epochs": 9, "cold_epochs": 12,
    },
}  # fmt: skip

OF_OTHER_LOSS = "teacher.temperature"  # can't be set beside the loss whose settings are


def flat(value: object, where: str = "") -> dict[str, object]:
    if isinstance(value, dict) and value and where not in ("stability.partial.rates",):
        leaves: dict[str, object] = {}
        for name, inner in value.items():
            leaves |= flat(inner, f"{where}.{name}".strip("."))
        return leaves
    return {where: list(value) if isinstance(value, tuple) else value}


def test_every_setting_reaches_the_trainer_and_survives_json():
    sent = GraphParameters.of(
        Config.model_validate({**PLAIN.model_dump(), "model": {"type": "sasrec"}, "update": EVERYTHING})
    ).trainer
    policy = sent.policy
    assert flat(dataclasses.asdict(policy)) == flat(EVERYTHING)
    optional = {"augmentation": Augmentation(mask=0.1), "teacher": TeacherSettings("two_tower")}
    defaults = flat(
        {**dataclasses.asdict(Policy()), **{name: dataclasses.asdict(section) for name, section in optional.items()}}
    )
    same = [name for name, value in flat(EVERYTHING).items() if value == defaults.get(name) and name != OF_OTHER_LOSS]
    assert same == [], "a setting that equals its default would not be seen to be lost"
    assert Settings.from_json(sent.to_json()) == sent


def test_all_parts_are_off_by_default():
    assert GraphParameters.of(PLAIN).trainer.policy == Policy()


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"stability": {"averaging": {"share": 0}}}, r"update\.stability\.averaging\.share.*greater than 0"),
        ({"stability": {"partial": {"rates": {"item*": 0}}}}, r"update\.stability\.partial\.rates\.item\*"),
        ({"stability": {"replay": {"selection": "random"}}}, r"replay\.selection.*'herding'"),
        ({"stability": {"distilation": {}}}, r"Did you mean `distillation`"),
        (
            {"stability": {"distillation": {"weight": 1.0, "batches": "replayed"}}},
            r"stability.*needs a memory\. Received: a `replay\.budget` of 0\. Set",
        ),
        ({"schedule": {"factor": 1.0}}, r"schedule\.factor.*less than 1"),
        ({"schedule": {"rates": [0.1, -1]}}, r"schedule\.rates"),
    ],
)
def test_a_value_that_can_not_be_used_is_refused(part, message):
    with pytest.raises(ConfigError, match=message):
        with_settings(PLAIN, {"update": part}, "the test")
