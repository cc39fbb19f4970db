"""What an erasure has to know of a file format."""

from __future__ import annotations

import abc
import contextlib
import io
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pipeline.erasure.id_matcher import IdMatcher
from trainer.atomic_write import atomic_write

_CHUNK = 1 << 24
_EDGE = 4_096


class Unreadable(ValueError):
    """A file is not what its name says."""


class FileFormat(abc.ABC):
    """Files that are written in one way.

    A format that is this and no more is kept: its files are counted, and `redact` leaves them as they are. An erasure
    names those that hold an id at its end.
    """

    @abc.abstractmethod
    def matches(self, path: Path) -> bool:
        """Whether a file is of the format, by its name."""

    @abc.abstractmethod
    def walk(self, path: Path, matcher: IdMatcher) -> Iterator[tuple[Any, int]]:
        """The parts of a file without the ids, each with how often they stood in it; None for a part that goes.

        Nothing else knows where ids stand: what is counted is what is taken out.

        Raises:
          Unreadable: it is damaged; then its bytes are counted, and it is kept.
        """

    def count(self, path: Path, matcher: IdMatcher) -> int:
        """How often a file holds one of the ids; 0 for one that vanished."""
        with contextlib.suppress(FileNotFoundError):
            try:
                return sum(times for _, times in self.walk(path, matcher))
            except Unreadable:
                return sum(times for _, times in counted(raw(path), matcher.in_bytes))
        return 0

    def redact(self, path: Path, matcher: IdMatcher) -> bool:
        """Takes the ids out of a file; False where it does not hold them, or is kept. Twice it changes nothing more."""
        return False


class RewritableFormat(FileFormat):
    """A format that can be written again: beside the old file, which is whole until the new one takes its place."""

    @abc.abstractmethod
    def write(self, beside: Path, parts: Iterator[Any], path: Path) -> None:
        """Writes the parts of `path` that stay to the new file `beside`."""

    def beside(self, path: Path) -> Path | None:
        """Where the new file is written, on the disk of the old one; None for its folder."""
        return None

    def redact(self, path: Path, matcher: IdMatcher) -> bool:
        if not self.count(path, matcher):
            return False
        try:
            with atomic_write(path, beside=self.beside(path)) as beside:
                self.write(beside, (part for part, _ in self.walk(path, matcher) if part is not None), path)
                shutil.copymode(path, beside)
        except Unreadable:
            return False
        return True


def raw(path: Path) -> Iterator[bytes]:
    """A file's bytes, in chunks."""
    with path.open("rb") as file:
        yield from chunks_of(file)


def chunks_of(file: io.BufferedIOBase) -> Iterator[bytes]:
    """What is left of a file that is open, in chunks."""
    while chunk := file.read(_CHUNK):
        yield chunk


def whole_lines(path: Path) -> Iterator[bytes]:
    """A file's bytes, in chunks that end with a line."""
    with path.open("rb") as file:
        while lines := file.read(_CHUNK) + file.readline():
            yield lines


def counted(chunks: Iterable[bytes], count: Callable[[bytes], int]) -> Iterator[tuple[None, int]]:
    """Counts over chunks; what lies across two of them is counted too."""
    edge = b""
    for chunk in chunks:
        # What lies wholly in the edge was counted with the chunk before.
        yield None, count(edge + chunk) - count(edge)
        edge = (edge + chunk)[-_EDGE:]
