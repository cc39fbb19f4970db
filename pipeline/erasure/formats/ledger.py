"""ML Metadata in SQLite."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from pipeline.erasure.formats.base import FileFormat, counted, raw
from pipeline.erasure.id_matcher import IdMatcher


class Ledger(FileFormat):
    """The cells of all tables, and pages that are free. `erase_in_store` rewrites it through ML Metadata."""

    def matches(self, path: Path) -> bool:
        return path.name == "metadata.sqlite"

    def walk(self, path: Path, matcher: IdMatcher) -> Iterator[tuple[None, int]]:
        total = 0
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)) as connection:
            connection.text_factory = bytes
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                for row in connection.execute(f'SELECT * FROM "{table.decode()}"'):
                    total += sum(matcher.in_text(value) for value in row if isinstance(value, bytes))
            ((free,),) = connection.execute("PRAGMA freelist_count").fetchall()
        yield None, total
        if free and not total:
            yield from counted(raw(path), matcher.in_bytes)
