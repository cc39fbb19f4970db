"""The folder of a stream: which state is the last, and how all of it is taken away. No TensorFlow."""

from __future__ import annotations

import shutil
from pathlib import Path

from components.span_pusher.streamed_versions import locked
from components.span_pusher.version_folder import drop_streamed, streamed
from pipeline.config import Config
from pipeline.operations.publication import try_to_publish

STATE, PARTIAL, BUNDLES = "state-", ".partial", "bundles"


class DiscardedError(RuntimeError):
    """The stream's folder was emptied by another command: what is in memory must not be written there again."""


def newest(folder: Path) -> Path | None:
    """The last whole state."""
    states = _states(folder)
    return states[-1] if states else None


def name_after(last: Path | None) -> str:
    """The name of the state after the state `last`; of the first for None."""
    return f"{STATE}{1 if last is None else int(last.name.removeprefix(STATE)) + 1:06d}"


def clear(folder: Path) -> None:
    """Removes older states, and what a process that was killed has left."""
    for path in (*_states(folder)[:-1], *folder.glob(f".*{PARTIAL}"), *(folder / BUNDLES).glob(f".*{PARTIAL}")):
        shutil.rmtree(path, ignore_errors=True)


def discard(config: Config) -> None:
    """Takes everything of the stream away: its states, its bundles, its versions out of the served folder.

    A stream that is running notices and begins again with the champion.
    """
    folder = config.stream_path
    if not folder.exists() and not streamed(config.serving_path):
        return
    with locked(config.serving_path):
        dropped = drop_streamed(config.serving_path)
        for path in (*folder.glob(f"{STATE}*"), *folder.glob(f".{STATE}*"), folder / BUNDLES):
            shutil.rmtree(path, ignore_errors=True)
    if dropped:
        try_to_publish(config)


def _states(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(f"{STATE}*") if path.is_dir())
