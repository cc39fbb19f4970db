"""A store's calls on a folder of the test, for what does not need a server: order, faults, sentences."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from components.object_store.address import StoreAddress
from components.object_store.store import ObjectStore

CHANGES = ("pipe_file", "put_file", "cp_file", "rm")


class KilledError(BaseException):
    """In the place of the process's end: nothing that a program handles."""


@dataclasses.dataclass
class Faults:
    """Which calls fail.

    Attributes:
      kill_at: the change at which the process ends, from 1; 0: none.
      errors: raised by the next calls, one each.
      after: called after each change.
    """

    kill_at: int = 0
    errors: list[Exception] = dataclasses.field(default_factory=list)
    after: Callable[[], Any] = lambda: None
    changes: int = 0


class FaultyFolder(DirFileSystem):
    """A folder, of which a bucket is a part; changes can be counted, and the process killed before any of them."""

    cachable = False

    def __init__(self, folder: Path, faults: Faults) -> None:
        super().__init__(path=str(folder), fs=LocalFileSystem(auto_mkdir=True, skip_instance_cache=True))
        self.faults = faults

    def find(self, path: str, **kwargs: Any) -> Any:
        self._fail()
        return super().find(path, **kwargs)

    def cat_file(self, path: str, **kwargs: Any) -> Any:
        self._fail()
        return super().cat_file(path, **kwargs)

    def pipe_file(self, path: str, value: bytes, **kwargs: Any) -> None:
        self._change(lambda: super(FaultyFolder, self).pipe_file(path, value, **kwargs))

    def put_file(self, lpath: str, rpath: str, **kwargs: Any) -> None:
        self._change(lambda: super(FaultyFolder, self).put_file(lpath, rpath, **kwargs))

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        self._change(lambda: super(FaultyFolder, self).cp_file(path1, path2, **kwargs))

    def rm(self, path: Any, **kwargs: Any) -> None:
        # One request takes out up to a thousand objects, in no order that could be relied on.
        for name in path:
            self._change(lambda name=name: super(FaultyFolder, self).rm(name, **kwargs))

    def _change(self, change: Callable[[], Any]) -> None:
        self._fail()
        self.faults.changes += 1
        if self.faults.changes == self.faults.kill_at:
            raise KilledError
        change()
        self.faults.after()

    def _fail(self) -> None:
        if self.faults.errors:
            raise self.faults.errors.pop(0)


def folder_store(folder: Path, faults: Faults | None = None, address: str = "s3://bucket/models/shop") -> ObjectStore:
    """A store whose objects are files below `folder`."""
    (folder / "bucket").mkdir(parents=True, exist_ok=True)
    return ObjectStore(StoreAddress(address), 0.0, FaultyFolder(folder, faults or Faults()))
