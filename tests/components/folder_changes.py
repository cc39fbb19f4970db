"""What can happen to TF Serving's folder: each from a folder at the start of the change to one at its end.

A change is called in a process that is killed in its middle; it returns True if it refused with a sentence.
"""

from __future__ import annotations

from pathlib import Path

from components.span_pusher.version_folder import PushError, drop_old, push, take_out
from components.span_pusher.version_labels import write_labels
from serving.bundle import Manifest, fingerprints
from serving.tfs_config.model_config import ModelConfigError

# The versions that are there before each change, and those after it.
CHANGES = {
    "push_one": ((1, 2), (1, 2, 3)),
    "drop_most": ((1, 2, 3, 4), (1, 3, 4)),
    "go_back": ((1, 2, 3, 4), (1, 2)),
}


def make_bundle(folder: Path, content: str, size: int = 0) -> Path:
    """A bundle of two files, one of them in a folder of its own, and `size` bytes."""
    for name in ("saved_model.pb", "variables/data"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(f"{content} in {name}".encode() + bytes(size))
    Manifest({}, fingerprints(folder)).write(folder)
    return folder


def push_one(served: str) -> bool:
    """Version 3, from the bundle beside the folder."""
    try:
        push(Path(served).parent / "bundle", served, 3, {"verdict": "Blessed."})
    except PushError:
        return True
    return False


def drop_most(served: str) -> None:
    drop_old(served, keep=2, labelled=(1,))


def go_back(served: str) -> None:
    take_out(served, (3, 4))


def move_label(served: str) -> bool:
    """`stable` from 1 to 2 in the models.config beside the folder."""
    try:
        write_labels(Path(served).parent / "models.config", "shop", served, {"stable": 2, "canary": 2})
    except ModelConfigError:
        return True
    return False
