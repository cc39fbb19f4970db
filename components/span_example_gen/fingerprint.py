"""What tells one delivery of a span from another: what is in its files, not when they were written."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from components.object_store import files
from trainer.atomic_write import atomic_write

_BLOCK = 1 << 20


class DigestCache:
    """Digests of files that have not changed since they were read; kept in one JSON file, or nowhere.

    A file counts as unchanged while its size, its times and its place on the disk are the same; an object in a store,
    while its size, its tag and its time are.
    """

    def __init__(self, file: str | Path | None) -> None:
        self._file = file
        self._known: dict[str, list[object]] = {}
        self._changed = False
        if file is not None:
            with contextlib.suppress(OSError, ValueError):
                self._known = dict(json.loads(Path(file).read_text(encoding="utf-8")))

    def digest(self, path: str) -> str:
        """Of what is in the file at `path`."""
        seen = list(files.status(path).stamp)
        known = self._known.get(path)
        if known is not None and known[:-1] == seen:
            return str(known[-1])
        digest = hashlib.blake2b(digest_size=16)
        with files.open_file(path) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        self._known[path] = [*seen, digest.hexdigest()]
        self._changed = True
        return digest.hexdigest()

    def save(self) -> None:
        """Keeps what was read; a root that can't be written to is read again next time."""
        # Who only looks makes no root.
        if self._file is None or not self._changed or not Path(self._file).parent.is_dir():
            return
        with contextlib.suppress(OSError), atomic_write(self._file) as beside:
            there = {path: seen for path, seen in self._known.items() if files.may_be_there(path)}
            beside.write_text(json.dumps(there))


def fingerprint(delivery: Iterable[tuple[str, str]], cache: DigestCache) -> str:
    """Of the files of a delivery, given as path and name below the folder of all spans.

    Returns:
      How many files, their bytes, and a digest of their names and of what is in them.
    """
    whole, count, size = hashlib.blake2b(digest_size=16), 0, 0
    for path, name in sorted(delivery, key=lambda file: file[1]):
        whole.update(json.dumps([name, cache.digest(path)]).encode())
        count, size = count + 1, size + files.status(path).size
    return f"content:{count}:{size}:{whole.hexdigest()}"
