"""What is written appears whole or not at all: it is written beside, then renamed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


def write_file(path: str | Path, content: str | bytes) -> None:
    """Writes a file, text as UTF-8, in the place of the one that is there; its folder must exist.

    Raises:
      OSError: it can't be written; what was there is whole, and nothing is left beside it.
    """
    path = Path(path)
    # The same name each time: what a killed process left is written over by the next attempt.
    beside = path.with_name(f".{path.name}.partial")
    try:
        with beside.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """A path at which the block makes a folder, which becomes `path` at its end; the parent of `path` must exist.

    Whatever the block raises, nothing is left then.

    Raises:
      OSError: `path` is there and not empty, or can't be written.
    """
    path = Path(path)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as private:
        beside = Path(private) / path.name  # the temporary folder itself is for its owner's eyes only
        yield beside
        os.rename(beside, path)
