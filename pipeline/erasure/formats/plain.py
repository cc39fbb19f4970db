"""Text, and files of which all that is known is bytes."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.erasure.formats.base import FileFormat, RewritableFormat, chunks_of, counted, raw, whole_lines
from pipeline.erasure.id_matcher import IdMatcher


class Text(RewritableFormat):
    """Text of programs. A short number in it is a figure."""

    suffixes = frozenset({".json", ".pbtxt", ".yaml", ".js", ".config"})

    def matches(self, path: Path) -> bool:
        return path.suffix in self.suffixes

    def walk(self, path: Path, matcher: IdMatcher) -> Iterator[tuple[bytes, int]]:
        yield from map(matcher.redact_text, whole_lines(path))

    def write(self, beside: Path, parts: Iterator[bytes], path: Path) -> None:
        with beside.open("wb") as file:
            file.writelines(parts)


class Page(Text):
    """Text that a person reads. With a short number it goes whole: nobody can tell which of the numbers is the user."""

    suffixes = frozenset({".html", ".log", ".md", ".svg", ".tsv", ".txt"})

    def walk(self, path: Path, matcher: IdMatcher) -> Iterator[tuple[bytes, int]]:
        for lines in whole_lines(path):
            redacted, times = matcher.redact_text(lines)
            yield redacted, times + matcher.numbers_in(lines)

    def redact(self, path: Path, matcher: IdMatcher) -> bool:
        if path.exists() and any(map(matcher.numbers_in, whole_lines(path))):
            path.unlink()
            return True
        return super().redact(path, matcher)


class Npz(FileFormat):
    """NumPy's arrays: names and bytes. Those of users are told by their rows, see `learned_rows`."""

    def matches(self, path: Path) -> bool:
        return path.suffix == ".npz"

    def walk(self, path: Path, matcher: IdMatcher) -> Iterator[tuple[None, int]]:
        return counted(self._arrays(path), matcher.in_bytes)

    def _arrays(self, path: Path) -> Iterator[bytes]:
        try:
            with np.load(path, allow_pickle=False) as file:
                for name in file.files:
                    yield name.encode()
                    yield file[name].tobytes()
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
            yield from raw(path)


class Gzip(FileFormat):
    """Whatever is compressed."""

    def matches(self, path: Path) -> bool:
        return path.suffix == ".gz"

    def walk(self, path: Path, matcher: IdMatcher) -> Iterator[tuple[None, int]]:
        return counted(self._decompressed(path), matcher.in_bytes)

    def _decompressed(self, path: Path) -> Iterator[bytes]:
        try:
            with gzip.open(path) as file:
                yield from chunks_of(file)
        except (OSError, EOFError, zlib.error):  # cut off, or no gzip at all
            yield from raw(path)


class Unknown(FileFormat):
    """Any other file: nobody knows where an id in it begins and ends."""

    def matches(self, path: Path) -> bool:
        return True

    def walk(self, path: Path, matcher: IdMatcher) -> Iterator[tuple[None, int]]:
        return counted(raw(path), matcher.in_bytes)
