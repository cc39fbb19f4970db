"""The served folder's copy in an object store, `push.path`: who changes the folder has the copy follow at once.

What a process that was killed, or a store that was away, has left undone is done by the next run, by any command that
changes what is served, or by `warmspan publish`.
"""

from __future__ import annotations

import logging

import filelock

from components.object_store.store import ObjectStore, ObjectStoreError
from components.span_pusher import published_versions
from components.span_pusher.published_versions import Changes
from components.span_pusher.version_folder import streamed, versions
from pipeline.config import Config
from pipeline.config.root_address import RootAddress
from serving.tfs_config.model_config import ModelConfigError

_PATIENCE = 1800.0  # seconds; who holds the lock uploads some bundles at most
_QUICKLY = 5.0
_log = logging.getLogger(__name__)


class PublicationError(RuntimeError):
    """The copy could not follow; the message says why, what is served there, and what to do."""


def place_of(config: Config, patience: float | None = None) -> ObjectStore | None:
    """The place of this model's versions in the store; None without `push.path`."""
    if config.push.path is None:
        return None
    return ObjectStore(config.push.path.below(config.name), patience)


def publish(config: Config) -> Changes:
    """Makes the copy hold what the folder does; nothing to do without `push.path`, or before the root is one.

    Raises:
      PublicationError: the store can't be used, or holds what is another root's.
    """
    if config.push.path is None or (root := RootAddress.read(config.root)) is None:
        return Changes()
    file = config.serving_path.parent / f".{config.name}.publish.lock"
    lock = filelock.FileLock(file, timeout=_PATIENCE, mode=0o644)
    try:
        config.serving_path.parent.mkdir(parents=True, exist_ok=True)
        with lock:
            store = place_of(config)
            assert store is not None
            folder, labels = config.serving_path, config.models_config_path
            return published_versions.publish(folder, labels, store, root.id, published_versions.SEEN_AFTER)
    except filelock.Timeout:
        raise PublicationError(
            f"One process at a time may publish to `push.path`. Received: {file} is held by another. Wait for it to "
            "end and run `warmspan publish`."
        ) from None
    except (ObjectStoreError, ModelConfigError) as error:
        raise PublicationError(
            f"`push.path` must follow the served folder. {error} Until then what servers load from "
            f"{config.push.path.below(config.name)} may not be what is served here: run `warmspan publish`, or the "
            "same command again."
        ) from None


def try_to_publish(config: Config) -> None:
    """As `publish`; if it can't be done, the log says so, for who must go on all the same."""
    try:
        publish(config)
    except PublicationError as error:
        _log.warning("%s", error)


def publication_lines(config: Config) -> list[str]:
    """How the copy stands beside the folder, for a person; nothing without `push.path`. A store is not waited for."""
    store = place_of(config, _QUICKLY)
    if store is None:
        return []
    title, indent = f"{'published':10}", " " * 10
    try:
        there = published_versions.published(store)
    except ObjectStoreError as error:
        return [f"{title}not known. {error}"]
    here = sorted((*versions(config.serving_path), *streamed(config.serving_path)))
    lines = [f"{title}{', '.join(map(str, there.named)) or 'nothing'} in {store.address}"]
    lacks, more = sorted(set(here) - set(there.whole)), sorted({*there.whole, *there.partial} - set(here))
    parts = [
        f"lacks {', '.join(map(str, lacks))}" if lacks else "",
        f"still holds {', '.join(map(str, more))}" if more else "",
    ]
    if said := " and ".join(part for part in parts if part):
        lines.append(f"{indent}It {said}: `warmspan publish`, or the next run, makes it what is served here.")
    return lines
