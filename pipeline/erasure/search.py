"""Looks for ids in every file below a folder, in what is compressed too, each kind of file as it is written."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from pipeline.erasure.formats.registry import format_of
from pipeline.erasure.id_matcher import IdMatcher


def search(root: Path, matcher: IdMatcher, skip: Collection[Path] = ()) -> dict[Path, int]:
    """Files below `root`, or `root` itself, that hold one of the ids, with how often."""
    counts = {path: format_of(path).count(path, matcher) for path in _files(root) if path not in skip}
    return {path: count for path, count in counts.items() if count}


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = Path(folder) / name
            if path.is_file() and not path.is_symlink():
                yield path
