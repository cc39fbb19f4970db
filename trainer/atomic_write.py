"""Files and folders that are there as a whole or not at all, whenever the process ends."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_write(path: str | Path, *, beside: Path | None = None, durable: bool = False) -> Iterator[Path]:
    """Gives a path to write to, which takes the place of `path` when the block ends.

    If the block raises, `path` is as it was and nothing is left beside it. Folders above `path` are made.

    Args:
      path: the file.
      beside: where to write, on the same file system; by default a hidden name in the folder of `path`.
      durable: wait for the disk, so that the file outlives the machine's power too.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if beside is None:
        _clear_killed(path)
        beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield beside
        if durable:
            sync(beside)
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):  # a disk that can't be written to has nothing to remove
            beside.unlink(missing_ok=True)
        raise
    if durable:
        sync(path.parent)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Gives an empty folder, which takes the place of the folder `path` when the block ends without an error.

    What an earlier block left half written is removed.
    """
    beside = path.with_name(f".{path.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    yield beside
    shutil.rmtree(path, ignore_errors=True)
    beside.rename(path)


def _clear_killed(path: Path) -> None:
    """Removes what processes that were killed have left beside a file."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        pid = leftover.name.split(".")[-2]
        if not pid.isdecimal():
            continue
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            leftover.unlink(missing_ok=True)
        except OSError:
            continue  # somebody else's, and alive


def sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
