"""Looks for ids in every file below a folder, in what is compressed too, each kind of file as it is written."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

import numpy as np

from pipeline.erasure import file_formats
from pipeline.erasure.file_formats import PAGES, TEXTS
from pipeline.erasure.id_matcher import IdMatcher

_CHUNK = 1 << 24
_EDGE = 4_096


def search(root: Path, matcher: IdMatcher, skip: Collection[Path] = ()) -> dict[Path, int]:
    """Files below `root`, or `root` itself, that hold one of the ids, with how often."""
    hits = {}
    for path in _files(root):
        if path not in skip and (count := count_in(path, matcher)):
            hits[path] = count
    return hits


def count_in(path: Path, matcher: IdMatcher) -> int:
    """How often one file holds one of the ids; 0 for a file that vanished."""
    try:
        if (reader := file_formats.reader_of(path)) is not None:
            return reader(path, matcher)
        if path.suffix in PAGES:
            return _in_chunks(_raw(path), matcher.in_page)
        if path.suffix in TEXTS:
            return _in_chunks(_raw(path), matcher.in_text)
        if path.suffix == ".gz":
            return _in_chunks(_gunzipped(path), matcher.in_bytes)
        if path.suffix == ".npz":
            return _in_chunks(_arrays(path), matcher.in_bytes)
        return _in_chunks(_raw(path), matcher.in_bytes)
    except FileNotFoundError:
        return 0


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


def _in_chunks(chunks: Iterable[bytes], count: Callable[[bytes], int]) -> int:
    """Counts over chunks; what lies across two of them is found too."""
    total, edge = 0, b""
    for chunk in chunks:
        # What lies wholly in the edge was counted with the chunk before.
        total += count(edge + chunk) - count(edge)
        edge = (edge + chunk)[-_EDGE:]
    return total


def _raw(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _gunzipped(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path) as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except (OSError, EOFError, zlib.error):  # cut off, or no gzip at all
        yield from _raw(path)


def _arrays(path: Path) -> Iterator[bytes]:
    try:
        with np.load(path, allow_pickle=False) as file:
            for name in file.files:
                yield name.encode()
                yield file[name].tobytes()
    except (OSError, ValueError, EOFError):
        yield from _raw(path)
