"""A copy of TF Serving's folder in an object store, kept as the folder is. No TFX.

A folder of a version appears in a store with its first object, so what a rename does on a disk is done by order:

- A version's files are uploaded beside, under a name that is no number, and copied within the store from there: the
  slow part is over before anybody can see a version. `saved_model.pb`, without which nothing can be loaded, comes last
  of what a server loads; after it the manifest, which says that all of that was there.
- The models.config comes after that. It names the versions to be loaded, none but whole ones, and takes the place of
  the one before in one write: a server that reads it never meets a version that is being written or removed.
- What leaves is removed after the models.config has ceased to name it.

A process that is killed at any moment leaves what the next `publish` completes or clears away.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from components.object_store.store import MissingError, ObjectStore, ObjectStoreError, StoredObject
from components.span_pusher.version_folder import streamed, versions
from components.span_pusher.version_labels import MODELS_CONFIG
from serving.bundle import MANIFEST
from serving.tfs_config.model_config import Latest, read_models_config

MARKER = "saved_model.pb"
OWNER, INCOMING = "root.json", ".incoming"
SEEN_AFTER = 15.0  # seconds in which every server has reread its models.config
_FORMAT, _ATTEMPTS = 1, 3
_HEADER = """\
# Which versions are served, under which labels: written by warmspan whenever a version comes or goes. Give it to the
# servers as --model_config_file, with --model_config_file_poll_wait_seconds=10.
"""


class NotOursError(ObjectStoreError):
    """What lies there belongs to another root; nothing was changed."""


class EmptiedError(ObjectStoreError):
    """The folder is empty, as it never is on purpose; nothing was changed."""


@dataclasses.dataclass(frozen=True)
class Published:
    """What a store holds of a model.

    Attributes:
      whole: versions that can be loaded, oldest first.
      partial: versions of which a part is there: a push or a removal was cut off.
      named: those that the models.config names.
      labels: label to version, as the models.config has it.
    """

    whole: tuple[int, ...]
    partial: tuple[int, ...]
    named: tuple[int, ...]
    labels: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Changes:
    """What `publish` has done: versions that came, and that left; of one that was exchanged it is in both."""

    came: tuple[int, ...] = ()
    left: tuple[int, ...] = ()


def published(store: ObjectStore) -> Published:
    """What lies in `store`, the place of one model. Raises as `ObjectStore`."""
    objects = store.objects()
    of_version = _by_version(objects)
    whole = tuple(version for version, names in of_version.items() if MARKER in names and MANIFEST in names)
    partial = tuple(version for version in of_version if version not in whole)
    try:
        text = store.read(MODELS_CONFIG).decode("utf-8") if MODELS_CONFIG in objects else ""
    except MissingError:
        text = ""
    return Published(whole, partial, *_read_config(text))


def publish(served: Path, models_config: Path, store: ObjectStore, owner: str, wait_seconds: float) -> Changes:
    """Makes `store` hold what the folder `served` does. May be repeated, and cut off at any moment.

    Args:
      served: the folder of one model's versions.
      models_config: the file with its labels, which need not be there.
      store: the place of that model, and of nothing else.
      owner: the id of the root, whose alone the place is from then on.
      wait_seconds: in which servers see a version named that is to get a label, where it was not named before.

    Raises:
      NotOursError: it is another root's, or holds versions of nobody knows whom.
      EmptiedError: the folder holds nothing any more.
      ModelConfigError: the models.config can't be used.
      ObjectStoreError: the store can't be used.
    """
    for attempt in range(_ATTEMPTS):
        before = _here(served)
        try:
            return _publish(served, before, models_config, store, owner, wait_seconds)
        except FileNotFoundError:
            # A stream or a command has taken a version out of the folder while it was read.
            if _here(served) == before or attempt + 1 == _ATTEMPTS:
                raise
    raise AssertionError


def _publish(
    served: Path, here: Iterable[int], models_config: Path, store: ObjectStore, owner: str, wait_seconds: float
) -> Changes:
    objects = store.objects()
    _claim(store, objects, owner)
    there = _by_version(objects)
    if there and not here:
        raise EmptiedError(
            f"{served} must hold a version, or every server would lose its model. Received: none, where "
            f"{store.address} holds {', '.join(map(str, there))}. Bring one back by `warmspan promote VERSION`, or "
            "remove the published ones yourself. Nothing was changed."
        )
    store.remove(name for name in objects if name.startswith(f"{INCOMING}/"))
    came, left = [], []
    for version in sorted(here):
        folder, names = served / str(version), there.get(version, {})
        if _same(store, folder, version, names):
            continue
        if names and MARKER not in names:
            # A server that has looked for it in vain gives up, until it has seen it go.
            _take_out(store, version, names)
            names = {}
        if names:
            left.append(version)
        _put(store, folder, version, names)
        came.append(version)
    wanted = _served_as(served.name, here, models_config)
    _write_config(store, served.name, MODELS_CONFIG in objects, wanted, wait_seconds)
    # The highest one last: who goes by the highest alone goes on with it until then.
    for version in sorted(set(there) - set(here)):
        _take_out(store, version, there[version])
        left.append(version)
    return Changes(tuple(came), tuple(sorted(left)))


def _here(served: Path) -> tuple[int, ...]:
    return tuple(sorted((*versions(served), *streamed(served))))


def _claim(store: ObjectStore, objects: Mapping[str, StoredObject], owner: str) -> None:
    """Writes whose the place is, or refuses one that is not ours: a publication removes what its folder lacks."""
    if OWNER in objects:
        try:
            holder = str(json.loads(store.read(OWNER))["id"])
        except (ValueError, KeyError, TypeError):
            holder = "nobody who can be read"
        if holder != owner:
            raise NotOursError(
                f"{store.address} must be the place of one pipeline root. Received: it is that of the root {holder}, "
                f"and this one is {owner}. Give each its own `push.path` or `name`; a place whose root is "
                "gone must be emptied first. Nothing was changed."
            )
        return
    if present := sorted(_by_version(objects)):
        raise NotOursError(
            f"{store.address} must hold no versions before the first that this root pushes. Received: "
            f"{', '.join(map(str, present))}. Give an empty place as `push.path`. Nothing was changed."
        )
    store.write(OWNER, json.dumps({"format": _FORMAT, "id": owner}).encode())


def _same(store: ObjectStore, folder: Path, version: int, names: Mapping[str, StoredObject]) -> bool:
    """Whether a version in the store is that in the folder: all files with their sizes, and the manifest to the letter.

    The manifest has the digest of every other file, and comes after all of them.
    """
    sizes = {name: (folder / name).stat().st_size for name in _files(folder)}
    if sizes != {name: stored.size for name, stored in names.items()}:
        return False
    return store.read(f"{version}/{MANIFEST}") == (folder / MANIFEST).read_bytes()


def _put(store: ObjectStore, folder: Path, version: int, names: Mapping[str, StoredObject]) -> None:
    files = sorted(_files(folder), key=lambda name: (name == MANIFEST, name == MARKER, name))
    for name in files:
        store.upload(folder / name, f"{INCOMING}/{version}/{name}")
    for name in files:
        store.copy(f"{INCOMING}/{version}/{name}", f"{version}/{name}")
    store.remove(f"{version}/{name}" for name in names if name not in files)
    store.remove(f"{INCOMING}/{version}/{name}" for name in files)


def _take_out(store: ObjectStore, version: int, names: Iterable[str]) -> None:
    """The marker first: what is left of a version can't be loaded."""
    store.remove(f"{version}/{name}" for name in names if name == MARKER)
    store.remove(f"{version}/{name}" for name in names if name != MARKER)


def _files(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]


@dataclasses.dataclass(frozen=True)
class _Served:
    """Which versions are to be loaded, and their labels."""

    versions: tuple[int, ...]
    labels: Mapping[str, int]

    def text(self, address: str, name: str) -> bytes:
        """As a models.config."""
        from google.protobuf import text_format
        from tensorflow_serving.config import model_server_config_pb2

        server = model_server_config_pb2.ModelServerConfig()
        model = server.model_config_list.config.add(name=name, base_path=address, model_platform="tensorflow")
        model.model_version_policy.specific.versions.extend(self.versions)
        model.version_labels.update(self.labels)
        return (_HEADER + text_format.MessageToString(server)).encode()


def _served_as(name: str, here: Iterable[int], models_config: Path) -> _Served:
    """What the folder's own models.config selects; without one the newest version."""
    entries = read_models_config(models_config) if models_config.exists() else []
    entry = next((of for of in entries if of.name == name), None)
    chosen = tuple(sorted((Latest() if entry is None else entry.policy).select(here)))
    labels = {} if entry is None else entry.labels
    return _Served(chosen, {label: version for label, version in labels.items() if version in chosen})


def _write_config(store: ObjectStore, name: str, is_there: bool, wanted: _Served, wait_seconds: float) -> None:
    if not wanted.versions:
        store.remove([MODELS_CONFIG] if is_there else [])
        return
    before = store.read(MODELS_CONFIG) if is_there else b""
    text = wanted.text(store.address, name)
    if before == text:
        return
    named, labels = _read_config(before.decode("utf-8", "replace"))
    if named and not set(wanted.labels.values()) <= set(named):
        # A server refuses a file that moves a label to what it has not loaded, with all else that the file says.
        still = {label: version for label, version in labels.items() if version in wanted.versions}
        store.write(MODELS_CONFIG, _Served(wanted.versions, still).text(store.address, name))
        time.sleep(wait_seconds)
    store.write(MODELS_CONFIG, text)


def _read_config(text: str) -> tuple[tuple[int, ...], dict[str, int]]:
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    try:
        server = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except text_format.ParseError:
        return (), {}
    models = list(server.model_config_list.config)
    named = sorted(version for model in models for version in model.model_version_policy.specific.versions)
    return tuple(named), {label: version for model in models for label, version in model.version_labels.items()}


def _by_version(objects: Mapping[str, StoredObject]) -> dict[int, dict[str, StoredObject]]:
    """Of each folder whose name is a number its objects, by their names in it, oldest version first."""
    of_version: dict[int, dict[str, StoredObject]] = {}
    for name, stored in objects.items():
        folder, slash, inside = name.partition("/")
        if slash and folder.isdecimal():
            of_version.setdefault(int(folder), {})[inside] = stored
    return dict(sorted(of_version.items()))
