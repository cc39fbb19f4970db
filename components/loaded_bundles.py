"""Bundles that a step of a night leaves loaded for the next one in the same process.

A load costs about a second whatever the size of a model, a fifth of what the Evaluator's work on a small day costs; and
TFMA loads the candidate and the champion right after the comparison has let go of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.incremental_trainer.artifact_files import SERVING_FOLDER
from trainer.keras2 import tf

_SMALL = 64 * 10**6  # bytes
_left: dict[tuple[str, int, int], Any] = {}


def load(model_uri: str) -> Any:
    """The SavedModel of a Model artifact: the one that was left loaded, as long as it is what lies on the disk."""
    folder = Path(model_uri) / SERVING_FOLDER
    left = _left.get(_written(folder))
    return tf.saved_model.load(str(folder)) if left is None else left


def leave(models: Mapping[str, Any]) -> None:
    """Keeps these, URI to SavedModel, and nothing that was left before, so that no more are in memory than these."""
    drop()
    _left.update({_written(Path(uri) / SERVING_FOLDER): model for uri, model in models.items()})


def leave_if_small(uri: str, model: Any) -> None:
    """`leave` for a step that others follow which need the memory: a bundle of at most 64 MB."""
    if sum(file.stat().st_size for file in (Path(uri) / SERVING_FOLDER).rglob("*") if file.is_file()) <= _SMALL:
        leave({uri: model})


def drop() -> None:
    """Lets go of what was left."""
    _left.clear()


def _written(folder: Path) -> tuple[str, int, int]:
    """What tells a file from one that was written in its place."""
    stat = os.stat(folder / tf.saved_model.SAVED_MODEL_FILENAME_PB)
    return str(folder), stat.st_ino, stat.st_mtime_ns
