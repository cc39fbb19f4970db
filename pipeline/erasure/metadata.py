"""Takes users out of ML Metadata: out of texts that quote them, and out of pages that SQLite has set free."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

from ml_metadata.metadata_store import metadata_store

from pipeline.config import Config
from pipeline.erasure.formats.messages import redact_message
from pipeline.erasure.id_matcher import IdMatcher


def erase_in_store(config: Config, store: metadata_store.MetadataStore, matcher: IdMatcher) -> int:
    """Rewrites the properties that hold an id; returns how many artifacts, executions and contexts that were.

    SQLite is written anew, so that no free page keeps what was there. What a database server keeps in its own logs
    and backups is for who runs it.
    """
    changed = 0
    for stored, put in (
        (store.get_artifacts(), store.put_artifacts),
        (store.get_executions(), store.put_executions),
        (store.get_contexts(), store.put_contexts),
    ):
        touched = [artifact for artifact in stored if _changed(artifact, matcher)]
        if touched:
            put(touched)
            changed += len(touched)
    if config.metadata is None:
        _vacuum(config)
    return changed


def _changed(message: Any, matcher: IdMatcher) -> bool:
    values = [*message.properties.values(), *message.custom_properties.values()]
    return sum(redact_message(value, matcher.redact_text) for value in values) > 0


def _vacuum(config: Config) -> None:
    with contextlib.closing(sqlite3.connect(config.root / "metadata.sqlite", timeout=60)) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("VACUUM")
