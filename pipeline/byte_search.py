"""Looks for ids in every file below a folder, in what is compressed too, however a format writes them."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import re
import zlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import numpy as np

from pipeline.id_fields import exactly
from pipeline.id_fields import in_columns as _in_columns
from pipeline.id_fields import in_strings as _in_strings

# An id this long is found as any part of the bytes; a shorter one only where no letter or digit touches it.
_DISTINCT = 32
_LONG_NUMBER = 10
_CHUNK = 1 << 24
_EDGE = 4_096


@dataclasses.dataclass(frozen=True)
class Sought:
    """Ids to look for.

    An id that is a short number can't be told from any other number in running text: it is looked for only where a
    format says that a value is an id, and as a word in logs and pages.

    Attributes:
      ids: all of them.
      numbers: those that are short numbers.
      pattern: what finds the others in bytes that are not compressed; None without any.
      words: what finds the numbers as words.
    """

    ids: frozenset[bytes]
    numbers: frozenset[bytes]
    pattern: re.Pattern[bytes] | None
    words: re.Pattern[bytes] | None

    @classmethod
    def of(cls, ids: Iterable[bytes]) -> Sought:
        found = frozenset(ids)
        numbers = frozenset(one for one in found if one.isdigit() and len(one) < _LONG_NUMBER)
        return cls(found, numbers, _expression(found - numbers), _expression(numbers))


def search(root: Path, sought: Sought, skip: Collection[Path] = ()) -> dict[Path, int]:
    """Files below `root`, or `root` itself, that hold one of the ids, with how often."""
    found = {}
    for path in _files(root):
        if path not in skip and (count := count_in(path, sought)):
            found[path] = count
    return found


def count_in(path: Path, sought: Sought) -> int:
    """How often one file holds one of the ids; 0 for a file that vanished."""
    try:
        count = _anywhere(path, sought.ids - sought.numbers, sought.pattern) if sought.pattern else 0
        return count + (exactly(path, sought.numbers, sought.words) if sought.words else 0)
    except FileNotFoundError:
        return 0


def _spellings(id_: bytes) -> set[bytes]:
    """The id as files may have it: as it is, and as JSON writes it, read as UTF-8 or byte for byte."""
    found = {id_}
    for encoding in ("utf-8", "latin-1"):
        try:
            text = id_.decode(encoding)
        except UnicodeDecodeError:
            continue
        found |= {json.dumps(text)[1:-1].encode(), json.dumps(text, ensure_ascii=False)[1:-1].encode(encoding)}
    return found


def _expression(ids: Collection[bytes]) -> re.Pattern[bytes] | None:
    parts = []
    for one in sorted({form for id_ in ids for form in _spellings(id_)}, key=len, reverse=True):
        quoted = re.escape(one)
        if len(one) < _DISTINCT:
            before = rb"(?<![0-9A-Za-z])" if one[:1].isalnum() else b""
            after = rb"(?![0-9A-Za-z])" if one[-1:].isalnum() else b""
            quoted = before + quoted + after
        parts.append(quoted)
    return re.compile(b"|".join(parts)) if parts else None


def _anywhere(path: Path, ids: Collection[bytes], pattern: re.Pattern[bytes]) -> int:
    if path.suffix == ".gz":
        return _in_chunks(_gunzipped(path), pattern)
    if path.suffix == ".parquet":
        return _in_chunks(_raw(path), pattern) + _in_columns(path, ids)
    if path.name.startswith("variables.data-"):
        return _in_strings(path, ids)
    if path.suffix == ".npz":
        return _in_chunks(_raw(path), pattern) + _in_chunks(_arrays(path), pattern)
    return _in_chunks(_raw(path), pattern)


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


def _in_chunks(chunks: Iterable[bytes], pattern: re.Pattern[bytes]) -> int:
    """Counts over chunks; what lies across two of them is found too."""
    found, edge = 0, b""
    for chunk in chunks:
        whole = edge + chunk
        found += sum(1 for match in pattern.finditer(whole) if match.end() > len(edge) or not edge)
        edge = whole[-_EDGE:]
    return found


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
                array = file[name]
                yield b"\0" + name.encode() + b"\0"
                yield b"\0".join(array.ravel().tolist()) if array.dtype.kind == "S" else array.tobytes()
    except (OSError, ValueError, EOFError):
        yield from _raw(path)
