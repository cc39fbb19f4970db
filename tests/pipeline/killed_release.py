"""A whole release, for a process that is killed in its middle."""

from __future__ import annotations

from pathlib import Path

import pipeline.ledger.serving_state  # noqa: F401  imported before the process is forked
from pipeline.config import load_config
from pipeline.operations.release import release


def let_in(base: str, name: str) -> bool:
    """Lets the held day called `name` in."""
    release(load_config(Path(base) / "warmspan.yaml"), name, "Easter")
    return False
