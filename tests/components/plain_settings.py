"""What the components are given where the user's settings say nothing, and changes of it."""

from __future__ import annotations

import dataclasses
from typing import Any

from components.paired_comparison.judgement import Rules
from components.span_transform.settings import Settings as TransformSettings
from components.update_decider.policy import Limit, UpdatePolicy
from pipeline.config import Config
from pipeline.parameters.comparison_rules import comparison_rules
from pipeline.parameters.graph_parameters import GraphParameters

_DATA = {"path": "events", "columns": {"key": "user", "item": "item", "timestamp": "time"}}
PLAIN = GraphParameters.of(Config.model_validate({"name": "shop", "data": _DATA}))
NO_LIMIT = Limit(None, None)


def gate_rules(**changes: Any) -> Rules:
    return dataclasses.replace(comparison_rules(Config.model_validate({"name": "shop", "data": _DATA})), **changes)


def transform_settings(**changes: Any) -> TransformSettings:
    return dataclasses.replace(PLAIN.transform, **changes)


def update_policy(**changes: Any) -> UpdatePolicy:
    """Without a pause after a full retrain where `changes` name none."""
    return dataclasses.replace(PLAIN.policy, **{"cooldown": 0, **changes})
