"""What is asked of an object store: with patience while it is away, and with a sentence where it refuses."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from components.object_store.address import LIBRARIES, StoreAddress
from components.object_store.refusals import causes, kind_of

PATIENCE = 180.0  # seconds in which a store may be away; a restart or a short cut of the network is over by then
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 10.0
_LISTING_HOLDS = 60.0
_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")


class ObjectStoreError(RuntimeError):
    """The store can't be used; the message says why, and what to do."""


class AwayError(ObjectStoreError):
    """The store does not answer, or only that it can't now, however long it was asked."""


class MissingError(ObjectStoreError):
    """The store has no such bucket or object."""


@dataclasses.dataclass(frozen=True)
class StoredObject:
    """What a store says of an object: its size in bytes, and a tag that changes with every write."""

    size: int
    tag: str
    modified: float


class ObjectStore:
    """All that lies below an address. Names are relative to it. A write of one object is seen whole or not at all.

    Who may do so is what the environment says, as for every other program: `AWS_ACCESS_KEY_ID`, `AWS_PROFILE`, a role
    of the machine and `AWS_ENDPOINT_URL` for `s3://`; `GOOGLE_APPLICATION_CREDENTIALS` or a role of the machine for
    `gs://`.

    Every method raises:
      AwayError: no answer within the patience.
      MissingError: there is no such bucket or object.
      ObjectStoreError: the store refuses, or its library is not installed.
    """

    def __init__(self, address: StoreAddress, patience: float | None = None, filesystem: Any = None) -> None:
        self.address = address
        self._patience = PATIENCE if patience is None else patience
        self._filesystem = _filesystem_of(address.scheme) if filesystem is None else filesystem
        self._listed: dict[str, tuple[StoredObject, float]] = {}
        self._folders_listed: set[str] = set()

    def objects(self, below: str = "") -> dict[str, StoredObject]:
        """Every object whose name begins with `below`, a folder's name and its slash or nothing, by name.

        The bucket must be there; a folder without an object is an empty one.
        """
        prefix = self._path(below).removesuffix("/")
        entries = self._ask("list", below, lambda: self._filesystem.find(prefix, detail=True))
        base = len(self._path("")) + 1
        objects = {
            name[base:]: _stored(entry)
            for name, entry in entries.items()
            # A console marks a folder by an empty object with a slash at its end.
            if entry.get("type") == "file" and not name.endswith("/") and name[base:].startswith(below)
        }
        if not objects and not below:
            self._ask("look at the bucket of", "", self._require_bucket)
        now = time.monotonic()
        others = {name: seen for name, seen in self._listed.items() if not name.startswith(below)}
        self._listed = {**others, **{name: (stored, now) for name, stored in objects.items()}}
        self._folders_listed.add(below)
        return objects

    def may_be_there(self, name: str) -> bool:
        """Whether the last listing of a folder above had the object; True where there was none. Asks nobody."""
        return name in self._listed or not any(name.startswith(folder) for folder in self._folders_listed)

    def status(self, name: str) -> StoredObject:
        """Of one object, as the last listing said if that was just now: to ask for each would cost more than that."""
        stored, listed_at = self._listed.get(name, (None, 0.0))
        if stored is not None and time.monotonic() - listed_at < _LISTING_HOLDS:
            return stored
        return _stored(self._ask("look at", name, lambda: self._filesystem.info(self._path(name))))

    def read(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        """An object, or its bytes from `start` to before `end`."""
        return bytes(self._ask("read", name, lambda: self._filesystem.cat_file(self._path(name), start=start, end=end)))

    def write(self, name: str, content: bytes) -> None:
        """Makes an object, or takes the place of the one that is there."""
        self._ask("write", name, lambda: self._filesystem.pipe_file(self._path(name), content))

    def upload(self, path: Path, name: str) -> None:
        """Makes an object of a file. Raises FileNotFoundError where there is none on the disk."""
        try:
            self._ask("write", name, lambda: self._filesystem.put_file(str(path), self._path(name)))
        except MissingError:
            if path.exists():
                raise
            raise FileNotFoundError(str(path)) from None

    def download(self, name: str, path: Path) -> None:
        """Makes a file of an object."""
        self._ask("read", name, lambda: self._filesystem.get_file(self._path(name), str(path)))

    def copy(self, name: str, to: str) -> None:
        """Copies an object within the store."""
        self._ask("copy", name, lambda: self._filesystem.cp_file(self._path(name), self._path(to)))

    def remove(self, names: Iterable[str]) -> None:
        """Removes objects; those that are not there are passed over."""
        paths = [self._path(name) for name in names]

        def remove() -> None:
            with contextlib.suppress(FileNotFoundError):
                self._filesystem.rm(paths)

        if paths:
            self._ask("remove", paths[0].removeprefix(self._path("")).lstrip("/"), remove)

    def _require_bucket(self) -> None:
        if not self._filesystem.exists(self.address.bucket.partition("://")[2]):
            raise FileNotFoundError(self.address.bucket)

    def _path(self, name: str) -> str:
        base = self.address.partition("://")[2]
        return f"{base}/{name}" if name else base

    def _ask(self, verb: str, name: str, question: Callable[[], _Answer]) -> _Answer:
        where = self.address.below(name) if name else self.address
        begun, wait, said = time.monotonic(), _FIRST_WAIT, False
        while True:
            try:
                return question()
            except Exception as error:
                kind, why = kind_of(error), _in_a_line(error)
                if kind == "other":
                    raise
                if kind == "keys":
                    raise ObjectStoreError(_no_right(where, verb, why)) from None
                if kind == "missing":
                    raise MissingError(
                        f"{where} must be there, and its bucket. Received: {why}. Correct the address, or make the "
                        "bucket."
                    ) from None
                passed = time.monotonic() - begun
                if passed + wait > self._patience:
                    raise AwayError(
                        f"{where} must be in a store that answers. Received, for {passed:.0f} s: {why}. Nothing is "
                        "lost by it: give the same command again once the store is there. `AWS_ENDPOINT_URL` names "
                        "one that is not Amazon's."
                    ) from None
                if not said:
                    _log.warning(
                        "%s does not answer (%s): it is asked again, for up to %.0f s.", where, why, self._patience
                    )
                    said = True
                time.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)


@functools.cache
def store_at(bucket: StoreAddress) -> ObjectStore:
    """The store of a whole bucket, one for a process."""
    return ObjectStore(bucket)


@functools.cache
def _filesystem_of(scheme: str) -> Any:
    import fsspec

    # Kept here: fsspec would keep one by its arguments, whatever the environment says by now.
    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    if scheme == "s3":
        # Patience is ours: botocore's own would wait for minutes before it says anything.
        options["config_kwargs"] = {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 0}}
    try:
        return fsspec.filesystem(scheme, **options)
    except ImportError:
        library, extra = LIBRARIES[scheme]
        raise ObjectStoreError(
            f"{scheme}:// needs the library {library}. Received: none that can be imported. Install it: "
            f"`pip install 'warmspan[{extra}]'`."
        ) from None


def _stored(entry: dict[str, Any]) -> StoredObject:
    tag = entry.get("ETag") or entry.get("etag") or entry.get("md5Hash") or entry.get("generation") or ""
    modified = entry.get("LastModified") or entry.get("mtime") or entry.get("created") or 0.0
    seconds = modified.timestamp() if hasattr(modified, "timestamp") else float(modified or 0.0)
    return StoredObject(int(entry["size"] or 0), str(tag).strip('"'), seconds)


def _no_right(where: str, verb: str, why: str) -> str:
    scheme = where.partition("://")[0]
    keys = {
        "s3": "`AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, `AWS_PROFILE` or the machine's role",
        "gs": "`GOOGLE_APPLICATION_CREDENTIALS` or the machine's role",
    }[scheme]
    return (
        f"{where} must be one that this user may {verb}. Received: {why}. Who this user is comes from the environment: "
        f"{keys}."
    )


def _in_a_line(error: BaseException) -> str:
    # The library's own words may be empty, or hold a whole page.
    texts = (" ".join(str(cause).split()) for cause in causes(error))
    text = next((text for text in texts if text), type(error).__name__)
    return text[:300].rstrip(".")
