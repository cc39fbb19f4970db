"""What lies under a pipeline root, in bytes by what it is. Needs neither TFX nor ML Metadata."""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.filesize import decimal

from pipeline.config import Config

ARTIFACTS, SERVING, STORE, LOGS, TRASH, OTHER = "artifacts", "serving", "store", "logs", "trash", "other"
_STORE_FILES = "metadata.sqlite"  # and its journals


@dataclasses.dataclass(frozen=True)
class DiskUse:
    """Sizes of files in bytes, a file with several names once; folders themselves are not counted.

    Attributes:
      artifacts: by node, what it has written.
      serving: TF Serving's folder, of all recommenders under this root.
      store: ML Metadata where it is SQLite; a server's data lies elsewhere and is not counted.
      logs: of runs, of trainings and TensorBoard's.
      trash: what gc has thrown away and can be put back.
      other: whatever else is there, like results of backtests.
    """

    artifacts: Mapping[str, int]
    serving: int
    store: int
    logs: int
    trash: int
    other: int

    @property
    def parts(self) -> dict[str, int]:
        """Name to bytes, the artifacts by node as `artifacts/<node>`; adds up to `total`."""
        nodes = {f"{ARTIFACTS}/{node}": size for node, size in sorted(self.artifacts.items())}
        return {**nodes, **self._others}

    @property
    def _others(self) -> dict[str, int]:
        return {
            SERVING: self.serving, STORE: self.store, LOGS: self.logs, TRASH: self.trash, OTHER: self.other,
        }  # fmt: skip

    @property
    def total(self) -> int:
        return sum(self.parts.values())


def disk_use(config: Config) -> DiskUse:
    """One walk over the root; what vanishes meanwhile, because a run goes on, is not counted."""
    seen: set[tuple[int, int]] = set()
    artifacts: dict[str, int] = {}
    sizes = dict.fromkeys((SERVING, STORE, LOGS, TRASH, OTHER), 0)
    for entry in _entries(config.root):
        if entry.path == str(config.artifacts_path):
            for node in _entries(entry.path):
                if size := _size(node, seen):
                    artifacts[node.name] = artifacts.get(node.name, 0) + size
        else:
            sizes[_kind(entry.name, config)] += _size(entry, seen)
    return DiskUse(artifacts, sizes[SERVING], sizes[STORE], sizes[LOGS], sizes[TRASH], sizes[OTHER])


def tree_bytes(path: str | Path) -> int:
    """Bytes of one file, or of all files below one folder, counted as in `DiskUse`; 0 if it is not there."""
    path, seen = Path(path), set[tuple[int, int]]()
    if path.is_dir() and not path.is_symlink():
        return sum(_size(entry, seen) for entry in _entries(path))
    return path.lstat().st_size if path.is_file() else 0


def disk_lines(use: DiskUse) -> list[str]:
    """For `warmspan status`: the total, and what it is made of, the largest first."""
    parts = {name: size for name, size in use.parts.items() if "/" not in name}
    parts[ARTIFACTS] = sum(use.artifacts.values())
    largest = sorted(((size, name) for name, size in parts.items() if size), reverse=True)
    inside = f": {', '.join(f'{name} {decimal(size)}' for size, name in largest)}" if largest else ""
    return [f"{'disk':10}{decimal(use.total)}{inside}"]


def _kind(name: str, config: Config) -> str:
    if name.startswith(_STORE_FILES):
        return STORE
    return {SERVING: SERVING, config.logs_path.name: LOGS, TRASH: TRASH}.get(name, OTHER)


def _entries(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except (FileNotFoundError, NotADirectoryError):
        return


def _size(entry: os.DirEntry[str], seen: set[tuple[int, int]]) -> int:
    try:
        if entry.is_dir(follow_symlinks=False):
            return sum(_size(inner, seen) for inner in _entries(entry.path))
        about = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return 0
    if not stat.S_ISREG(about.st_mode):
        return 0
    if about.st_nlink > 1:
        if (about.st_dev, about.st_ino) in seen:
            return 0
        seen.add((about.st_dev, about.st_ino))
    return about.st_size
