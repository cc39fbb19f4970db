"""A bundle: SavedModel, vocabulary, item index and manifest in one folder, written and checked as one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from serving.atomic_write import new_folder
from serving.bundle.warmup_requests import write_warm_up

MANIFEST = "manifest.json"
FORMAT = 1


class BundleError(ValueError):
    """A bundle is incomplete or its parts disagree; the message names the part and both fingerprints."""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a bundle is made of.

    Attributes:
      about: span, model, parent, metrics: whatever the writer wants to be read back.
      files: relative path to the SHA-256 of every other file of the bundle.
    """

    about: Mapping[str, Any]
    files: Mapping[str, str]

    @classmethod
    def read(cls, folder: str | Path) -> Manifest:
        path = Path(folder) / MANIFEST
        try:
            raw = json.loads(path.read_text())
            format_, about, files = raw["format"], dict(raw["about"]), dict(raw["files"])
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise BundleError(f"A bundle must hold a readable {MANIFEST}. Received: {path} ({error!r}).") from None
        if format_ != FORMAT:
            raise BundleError(
                f"A bundle's format must be {FORMAT}. Received: {format_} in {path}. Use the warmspan that wrote it."
            )
        return cls(about, files)

    def write(self, folder: str | Path) -> None:
        raw = {"format": FORMAT, "about": dict(self.about), "files": dict(self.files)}
        (Path(folder) / MANIFEST).write_text(json.dumps(raw, indent=1, sort_keys=True))


class Exportable(Protocol):
    """What can be saved: a `tf.Module` like `serving.bundle.signatures.Signatures`."""

    @property
    def variables(self) -> Sequence[Any]:
        """All that hang on the module."""
        ...

    def build(self) -> dict[str, Any]:
        """The signatures by name; after it every variable that they use hangs on the module."""
        ...

    def warm_up(self) -> Sequence[tuple[str, Mapping[str, np.ndarray]]]:
        """Requests by signature name that a server is to replay before it takes any other."""
        ...


def write_bundle(signatures: Exportable, folder: str | Path, about: Mapping[str, Any]) -> Manifest:
    """Saves `signatures`, warm-up requests and the manifest as `folder`, at once or not at all.

    To `about` are added `signatures`, their names; `tables`, the bytes of everything that the model keeps, by kind; and
    `bytes`, the size of all files but the manifest.

    Raises:
      BundleError: `folder` exists.
    """
    import tensorflow as tf

    folder = Path(folder)
    if folder.exists():
        raise BundleError(f"The folder of a new bundle must not exist. Received: {folder}. Write it to another one.")
    with new_folder(folder) as beside:
        options = tf.saved_model.SaveOptions(save_debug_info=False)
        built = signatures.build()
        tf.saved_model.save(signatures, str(beside), signatures=built, options=options)
        write_warm_up(beside, signatures.warm_up())
        size = sum(path.stat().st_size for path in _files(beside))
        about = {**about, "signatures": sorted(built), "tables": table_bytes(signatures.variables), "bytes": size}
        manifest = Manifest(about, fingerprints(beside))
        manifest.write(beside)
    return manifest


def table_bytes(variables: Iterable[Any]) -> dict[str, int]:
    """Bytes of the variables, each once, by type of value; a string's are its own."""
    sizes: dict[str, int] = {}
    for variable in {id(variable): variable for variable in variables}.values():
        values = variable.numpy()
        size = sum(map(len, values.ravel())) if variable.dtype == "string" else values.nbytes
        sizes[variable.dtype.name] = sizes.get(variable.dtype.name, 0) + int(size)
    return sizes


def check_bundle(folder: str | Path) -> Manifest:
    """Reads a bundle's manifest and compares every part with it.

    Raises:
      BundleError: a part is missing, unknown or other than the manifest says.
    """
    manifest = Manifest.read(folder)
    actual = fingerprints(folder)
    for name in sorted(set(actual) | set(manifest.files)):
        wanted, got = manifest.files.get(name), actual.get(name)
        if wanted != got:
            raise BundleError(
                f"The parts of a bundle must be those of its manifest. Received: {folder}, part {name}, manifest says "
                f"{wanted or 'no such part'}, found {got or 'nothing'}. Push the model again; never mix two versions."
            )
    return manifest


def fingerprints(folder: str | Path) -> dict[str, str]:
    """SHA-256 of every file under `folder` but the manifest, by relative path."""
    return {str(path.relative_to(folder)): _sha256(path) for path in _files(Path(folder))}


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / MANIFEST)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file: Any) -> str:
    """`hashlib.file_digest` for Python 3.10."""
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()
