"""Files by their paths, on a disk of this machine or, where the path is an address, in an object store."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from components.object_store.address import StoreAddress, is_address
from components.object_store.store import MissingError, ObjectStore, store_at

_BLOCK = 8 << 20


@dataclasses.dataclass(frozen=True)
class FileStatus:
    """Bytes of a file, when it was written (seconds since 1970), and what changes whenever it is written again."""

    size: int
    modified: float
    stamp: tuple[object, ...]


def status(path: str | Path) -> FileStatus:
    """What is known of a file without reading it.

    Raises:
      FileNotFoundError: there is none on the disk. A store raises as `ObjectStore` does.
    """
    if is_address(path):
        store, name = _at(str(path))
        stored = store.status(name)
        return FileStatus(stored.size, stored.modified, (stored.size, stored.tag, stored.modified))
    of_file = os.stat(path)
    stamp = (of_file.st_size, of_file.st_mtime_ns, of_file.st_ctime_ns, of_file.st_ino)
    return FileStatus(of_file.st_size, of_file.st_mtime, stamp)


def exists(path: str | Path) -> bool:
    """Whether a file or folder is there; in a store every folder of a bucket that is there is, an empty one too."""
    if not is_address(path):
        return os.path.exists(path)
    try:
        ObjectStore(StoreAddress.parse(path)).objects()
    except MissingError:
        return False
    return True


def is_file(path: str | Path) -> bool:
    """Whether a file of that name is there."""
    if not is_address(path):
        return os.path.isfile(path)
    try:
        status(path)
    except MissingError:
        return False
    return True


def may_be_there(path: str | Path) -> bool:
    """Whether a file is on the disk; in a store, whether it was when its folder was last listed."""
    if not is_address(path):
        return os.path.exists(path)
    store, name = _at(str(path))
    return store.may_be_there(name)


def names_below(base: str) -> list[str]:
    """Names of all objects below an address, relative to it, in their order."""
    address = StoreAddress.parse(base)
    store, folder = store_at(address.bucket), f"{address.key}/" if address.key else ""
    return sorted(name[len(folder) :] for name in store.objects(folder))


def open_file(path: str | Path) -> BinaryIO:
    """Opens a file to read its bytes, from any place in it. In a store each read of 8 MB has the store's patience."""
    if not is_address(path):
        return open(path, "rb")
    return io.BufferedReader(StoredFile(str(path)), _BLOCK)  # type: ignore[return-value]


@contextlib.contextmanager
def local_copy(path: str | Path) -> Iterator[str]:
    """A path on a disk, for a library that knows no other: of a file in a store a copy, as long as the block lasts."""
    if not is_address(path):
        yield str(path)
        return
    with tempfile.TemporaryDirectory(prefix="warmspan-") as folder:
        copy = os.path.join(folder, os.path.basename(str(path)))
        with open_file(path) as source, open(copy, "wb") as target:
            shutil.copyfileobj(source, target, _BLOCK)
        yield copy


class StoredFile(io.RawIOBase):
    """An object as a file without a buffer: each read asks the store for just these bytes."""

    def __init__(self, path: str) -> None:
        self._store, self._name = _at(path)
        self._size, self._position = self._store.status(self._name).size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        end = min(self._position + len(buffer), self._size)
        if end <= self._position:
            return 0
        part = self._store.read(self._name, self._position, end)
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)


def _at(path: str) -> tuple[ObjectStore, str]:
    address = StoreAddress.parse(path)
    return store_at(address.bucket), address.key
