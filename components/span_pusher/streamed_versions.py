"""Versions that a stream pushes between two nights: above the nightly version that they come from, until the next one.

A streamed version has 16 digits: a 5, the ten of the nightly version that it comes from, and five that count. So it is
higher than every nightly version, and a server that takes the highest takes it; and it is told from them by its number
alone. It may stand in the folder only while the version that it comes from is the highest of the nightly ones: a push
of the next night and a rollback take it out. Whoever changes the folder holds its lock while he does. No TFX.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path

import filelock

STREAMED = 5 * 10**15
_COUNTS = 10**5
_BASES = 10**10
_PATIENCE = 300.0  # seconds; who holds the lock copies a bundle at most


class VersionError(ValueError):
    """A streamed version can't be named; the message says why."""


def is_streamed(version: int) -> bool:
    """Whether a stream has pushed it, by its number."""
    return STREAMED <= version < STREAMED + _BASES * _COUNTS


def streamed_version(base: int, number: int) -> int:
    """The `number`-th version, from 1, that comes from the nightly version `base`.

    Raises:
      VersionError: there are no digits left for one of them.
    """
    if not 0 < base < _BASES or not 0 < number < _COUNTS:
        raise VersionError(
            f"A streamed version must come from one of at most ten digits, and be one of the first {_COUNTS - 1}. "
            f"Received: number {number} of {base}. Let the nightly run push its next version."
        )
    return STREAMED + base * _COUNTS + number


def base_of(version: int) -> int:
    """The nightly version that a streamed one comes from."""
    return (version - STREAMED) // _COUNTS


def number_of(version: int) -> int:
    """Which of its base's streamed versions it is, from 1."""
    return (version - STREAMED) % _COUNTS


@contextlib.contextmanager
def locked(served: str | Path) -> Iterator[None]:
    """Holds the lock of the folder `served`, which is held while a version is copied, renamed or taken out.

    Who holds it may take it again.
    """
    folder = Path(served).absolute().parent
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder / f".{Path(served).name}.lock"):
        yield


@functools.cache
def _lock(path: Path) -> filelock.FileLock:
    # One object a file: it counts how often it is held, where another one would wait for it without end.
    return filelock.FileLock(path, timeout=_PATIENCE, mode=0o644)
