"""Whole label changes, for a process that is killed in their middle."""

from __future__ import annotations

from pathlib import Path

from pipeline.config import load_config
from pipeline.operations.promotion import assign_label, remove_label, write_first_labels

_CHANGES = {
    "first": lambda config, version: write_first_labels(config),
    "stable": lambda config, version: assign_label(config, "stable", version),
    "canary": lambda config, version: assign_label(config, "canary", version),
    "remove": lambda config, version: remove_label(config, "canary"),
}


def change(base: str, name: str, version: str) -> bool:
    """Makes one of the changes; `version` is the one that gets the label."""
    _CHANGES[name](load_config(Path(base) / "warmspan.yaml"), int(version))
    return False
