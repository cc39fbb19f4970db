"""Finds the versions of the served models on disk, loads them in the background and takes the old ones out.

A version is taken up when its folder's name is a number and a SavedModel lies in it. It is loaded and warmed up beside
the one in service; requests go to it from then on, and the old one is closed when its last request has ended. A version
that can't be loaded changes nothing for the others; it is tried again when its files change, and after a while. A label
moves to a version once that is in service; until then it names the one that it named before.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.bundle.saved_model import SavedModel
from serving.errors import ServingError, invalid
from serving.server.prometheus import Metrics
from serving.tfs_config.model_config import ModelConfig, ModelConfigError, read_models_config

SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt", "saved_model.cpb")
# Ended versions stay in the status answer; a server that runs for years does not list all of them.
MAX_ENDED = 50

_log = logging.getLogger(__name__)


@dataclass
class VersionStatus:
    """State of one version: START, LOADING, AVAILABLE, UNLOADING or END, and the error that ended it or holds it up."""

    version: int
    state: str = "START"
    error_code: str = "OK"
    error_message: str = ""


@dataclass
class _Entry:
    status: VersionStatus
    model: SavedModel | None = None
    attempts: int = 0
    next_attempt: float = 0.0
    fingerprint: object = None


class ModelManager:
    """The versions of all served models. Thread safe."""

    def __init__(
        self,
        models: Sequence[ModelConfig] | Path,
        *,
        metrics: Metrics | None = None,
        poll_seconds: float = 1.0,
        load_retries: int = 5,
        load_retry_seconds: float = 60.0,
        timeout_ms: int = 30_000,
    ) -> None:
        """`models` is a list, or the path of a models.config that is read again whenever it changes.

        Raises:
          ModelConfigError: the models.config can't be used.
        """
        self._metrics = metrics or Metrics()
        self._poll_seconds = poll_seconds
        self._load_retries = load_retries
        self._load_retry_seconds = load_retry_seconds
        self._timeout_ms = timeout_ms
        self._config_file = models if isinstance(models, Path) else None
        self._config_stamp = _stamp(models) if isinstance(models, Path) else None
        configs = read_models_config(models) if isinstance(models, Path) else models
        self._configs = {config.name: config for config in configs}
        self._entries: dict[str, dict[int, _Entry]] = {}
        # By model: the version that each label stands for now, and the one that each label in its place waits for.
        self._labels: dict[str, dict[str, int]] = {}
        self._awaited: dict[str, dict[str, int]] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Loads what is there, then watches the folders from a thread of its own."""
        self._stopping.clear()
        self.poll()
        self._thread = threading.Thread(target=self._watch, name="model-manager", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the watch and closes every version, each when its last request has ended."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            live = [(name, version) for name, entries in self._entries.items() for version in entries]
        for name, version in live:
            self._retire(name, version)

    def configure(self, models: Sequence[ModelConfig]) -> None:
        """Replaces the served models; folders are looked at in the next poll."""
        with self._lock:
            self._configs = {config.name: config for config in models}

    @contextlib.contextmanager
    def use(self, name: str, version: int | None = None, label: str | None = None) -> Iterator[SavedModel]:
        """The named version for the length of a request; the highest one in service without a version or a label.

        Raises:
          ServingError: NOT_FOUND for an unknown model or version, INVALID_ARGUMENT for an unknown label.
        """
        model = self.acquire(name, version, label)
        try:
            yield model
        finally:
            model.release()

    def acquire(self, name: str, version: int | None = None, label: str | None = None) -> SavedModel:
        """As `use`, for a request that ends elsewhere than it began: who calls this calls the model's `release`."""
        with self._lock:
            if label is not None:
                version = self._labels.get(name, {}).get(label)
                if version is None:
                    raise invalid(f"Unrecognized servable version label: {label}")
            entries = self._entries.get(name, {})
            served = [number for number, entry in entries.items() if entry.status.state == "AVAILABLE"]
            number = version if version is not None else max(served, default=None)
            model = entries[number].model if number in served and number is not None else None
            # Under the manager's lock a version in service can't be retired in between.
            if model is None or not model.acquire():
                what = f"Latest({name})" if version is None else f"Specific({name}, {version})"
                raise ServingError("NOT_FOUND", f"Servable not found for request: {what}")
            return model

    def status(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """States of a model's versions, newest first.

        Raises:
          ServingError: NOT_FOUND for an unknown model or version.
        """
        with self._lock:
            entries = self._entries.get(name, {})
            if version is not None:
                if version not in entries:
                    raise ServingError("NOT_FOUND", f"Could not find version {version} of model {name}")
                return [entries[version].status]
            if not entries:
                raise ServingError("NOT_FOUND", f"Could not find any versions of model {name}")
            return [entries[number].status for number in sorted(entries, reverse=True)]

    def serves(self, name: str) -> bool:
        """Whether a model of this name is configured."""
        with self._lock:
            return name in self._configs

    def poll(self) -> None:
        """Looks at the folders once: loads what is new, moves labels, then retires what is no longer wanted."""
        # The folders before the file: who takes a version away moves its labels first. So whoever sees that it is gone
        # sees the labels where they are now.
        with self._lock:
            folders = {config.base_path for config in self._configs.values()}
        listed = {folder: _listed(folder) for folder in folders}
        self._reread_config()
        with self._lock:
            configs = list(self._configs.values())
            gone = [name for name in self._entries if name not in self._configs]
            for name in gone:
                self._labels.pop(name, None)
                self._awaited.pop(name, None)
        for name in gone:
            self._retire_all(name, keep=set())
        for config in configs:
            folder = config.base_path
            versions = listed[folder] if folder in listed else _listed(folder)
            if versions is None:
                self._move_labels(config)
            else:
                self._poll_model(config, versions)

    def _watch(self) -> None:
        while not self._stopping.wait(self._poll_seconds):
            try:
                self.poll()
            except Exception:
                # A disk that fails for a moment must not end the watch: what is loaded stays in service.
                _log.exception("Could not look for new versions; trying again in %g s", self._poll_seconds)

    def _reread_config(self) -> None:
        if self._config_file is None or (stamp := _stamp(self._config_file)) == self._config_stamp:
            return
        self._config_stamp = stamp
        try:
            self.configure(read_models_config(self._config_file))
        except ModelConfigError as error:
            _log.error("Keeping the models as they were: %s", error)

    def _poll_model(self, config: ModelConfig, versions: Mapping[int, Path]) -> None:
        wanted = config.policy.select(versions)
        for version in sorted(wanted, reverse=True):
            if self._stopping.is_set():
                return
            self._load_if_due(config.name, version, versions[version])
        served, held = self._move_labels(config)
        # As long as nothing that is wanted can answer, what is there goes on answering.
        if served & wanted or not wanted:
            self._retire_all(config.name, keep=wanted | held)

    def _move_labels(self, config: ModelConfig) -> tuple[set[int], set[int]]:
        """Moves labels to versions in service. Returns all of those, and those that a waiting label still needs."""
        name = config.name
        with self._lock:
            entries = self._entries.get(name, {})
            served = {version for version, entry in entries.items() if entry.status.state == "AVAILABLE"}
            before = self._labels.get(name, {})
            awaited = {
                label: version
                for label, version in config.labels.items()
                if version not in served and before.get(label) in served
            }
            held = {label: before[label] for label in awaited}
            self._labels[name] = {**config.labels, **held}
            known, self._awaited[name] = self._awaited.get(name, {}), awaited
        for label, version in awaited.items():
            if known.get(label) != version:
                _log.warning(
                    "Label %s of %s must name a version that is loaded. Received: %d. It stays at %d until %d is in "
                    "service, which must lie in %s and be wanted by the version policy.",
                    *(label, name, version, held[label], version, config.base_path),
                )
        return served, set(held.values())

    def _load_if_due(self, name: str, version: int, path: Path) -> None:
        with self._lock:
            entries = self._entries.setdefault(name, {})
            entry = entries.get(version)
            if entry is None or (entry.status.state == "END" and entry.model is None and entry.attempts == 0):
                entry = entries[version] = _Entry(VersionStatus(version))
            if entry.status.state in ("AVAILABLE", "UNLOADING"):
                return
        fingerprint = _fingerprint(path)
        changed = fingerprint != entry.fingerprint
        if changed:
            entry.attempts = 0
        if not changed and (entry.attempts > self._load_retries or time.monotonic() < entry.next_attempt):
            return
        entry.fingerprint = fingerprint
        self._set(entry, "LOADING")
        began = time.monotonic()
        try:
            model = self._load(name, version, path)
        except ServingError as error:
            entry.attempts += 1
            entry.next_attempt = time.monotonic() + self._load_retry_seconds
            last = entry.attempts > self._load_retries
            self._set(entry, "END" if last else "LOADING", error.code, error.message)
            self._metrics.load_attempts.add(str(path), error.code)
            _log.error("Version %d of %s was not loaded: %s", version, name, error.message)
            return
        self._metrics.load_attempts.add(str(path), "success")
        self._metrics.load_latency.add(str(path), by=int((time.monotonic() - began) * 1e6))
        with self._lock:
            entry.model, entry.attempts = model, 0
            entry.status = VersionStatus(version, "AVAILABLE")
        _log.info("Version %d of %s is in service after %.2f s", version, name, time.monotonic() - began)

    def _load(self, name: str, version: int, path: Path) -> SavedModel:
        model = SavedModel(name, version, path, self._timeout_ms)
        began, code = time.monotonic(), "OK"
        try:
            model.warm_up()
        except ServingError as error:
            code = error.code
            model.retire(lambda: None)
            raise
        finally:
            self._metrics.warmup_latency.observe((time.monotonic() - began) * 1e6, str(path), code)
        return model

    def _set(self, entry: _Entry, state: str, code: str = "OK", message: str = "") -> None:
        with self._lock:
            entry.status = VersionStatus(entry.status.version, state, code, message)

    def _retire_all(self, name: str, keep: set[int]) -> None:
        with self._lock:
            versions = [version for version in self._entries.get(name, {}) if version not in keep]
        for version in versions:
            self._retire(name, version)
        with self._lock:
            entries = self._entries.get(name, {})
            ended = sorted(version for version, entry in entries.items() if entry.status.state == "END")
            for version in ended[:-MAX_ENDED]:
                del entries[version]

    def _retire(self, name: str, version: int) -> None:
        with self._lock:
            entry = self._entries[name][version]
            model = entry.model
            if model is None:
                # It never came into service: a version whose folder was taken away again.
                if entry.status.state in ("START", "LOADING"):
                    entry.status = VersionStatus(version, "END", entry.status.error_code, entry.status.error_message)
                    entry.attempts = 0
                return
            if entry.status.state != "AVAILABLE":
                return
            entry.status = VersionStatus(version, "UNLOADING")

        def closed() -> None:
            with self._lock:
                entry.model, entry.fingerprint = None, None
                entry.status = VersionStatus(version, "END")
            _log.info("Version %d of %s is out of service", version, name)

        model.retire(closed)


def _listed(base_path: Path) -> dict[int, Path] | None:
    try:
        return find_versions(base_path)
    except OSError as error:
        _log.warning("Could not list %s: %s", base_path, error)
        return None


def find_versions(base_path: Path) -> dict[int, Path]:
    """The complete versions in a model's folder, with their folders. One being written has a name that is no number.

    Raises:
      OSError: the folder is not there, or may not be read.
    """
    versions = {}
    for child in os.scandir(base_path):
        if child.name.isascii() and child.name.isdigit() and len(child.name) < 20:
            path = Path(child.path)
            if any((path / name).exists() for name in SAVED_MODEL_FILES):
                versions[int(child.name)] = path
    return versions


def _fingerprint(path: Path) -> object:
    """Changes when a file of the version is written."""
    return frozenset(
        (str(file), stat.st_size, stat.st_mtime_ns) for file in path.rglob("*") if (stat := _stat(file)) is not None
    )


def _stamp(path: Path) -> object:
    stat = _stat(path)
    return stat and (stat.st_size, stat.st_mtime_ns, stat.st_ino)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
