"""A whole gc, for a process that is killed in its middle."""

from __future__ import annotations

from pathlib import Path

import pipeline.operations.retention_policy  # noqa: F401  imported before the process is forked
from pipeline.config import load_config
from pipeline.operations import garbage_collection
from pipeline.operations.garbage_collection import carry_out, make_cleanup


def clean(base: str) -> bool:
    """Removes what is not needed."""
    config = load_config(Path(base) / "warmspan.yaml")
    carry_out(config, make_cleanup(config))
    return False


def restore(base: str) -> bool:
    """Puts back what lies in the trash."""
    garbage_collection.restore(load_config(Path(base) / "warmspan.yaml"))
    return False
