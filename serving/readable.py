"""A server may run as another user: what it reads can be read by all, whatever the umask of the user who wrote it."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path


def let_others_read(path: Path, top: Path | None = None) -> None:
    """Lets every user read a file, or a folder with all below it, and pass the folders above it up to `top`.

    Nothing is taken from anybody, and what belongs to another user stays as it is: only that one can change it.
    """
    above = [folder for folder in path.parents if top is not None and folder.is_relative_to(top)]
    for entry in (*above, path, *path.rglob("*")):
        if entry.is_symlink():
            continue
        mode = stat.S_IMODE(entry.stat().st_mode)
        wanted = mode | (0o555 if entry.is_dir() else 0o444)
        if mode != wanted:
            with contextlib.suppress(PermissionError):
                os.chmod(entry, wanted)


def closed_folder(path: Path) -> Path | None:
    """The first folder above `path` that not everybody can pass; None if there is none."""
    above = reversed(path.resolve().parents)
    return next((folder for folder in above if not folder.stat().st_mode & stat.S_IXOTH), None)
