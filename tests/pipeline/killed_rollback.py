"""A whole rollback, for a process that is killed in its middle."""

from __future__ import annotations

from pathlib import Path

import pipeline.ledger.serving_state  # noqa: F401  imported before the process is forked
from pipeline.config import load_config
from pipeline.operations.rollback import carry_out, make_rollback

BAD = 2024050301


def roll_back(base: str) -> bool:
    """Revokes BAD; the labels are in the models.config already."""
    config = load_config(Path(base) / "warmspan.yaml")
    carry_out(config, make_rollback(config, bad=BAD), "bots")
    return False
