"""One version in TF Serving's folder: written beside, made durable, then renamed. No TFX."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving.bundle import BundleError, check_bundle

_PARTIAL, _REMOVED = ".partial", ".removed"


def push(bundle: str | Path, served: str | Path, version: int, about: Mapping[str, Any]) -> Path:
    """Copies `bundle` to `served/version`, with `about` added to its manifest.

    At every moment `served/version` is either absent or whole. A version that is there already, with the same parts,
    is left alone, so that a push can be repeated.

    Raises:
      BundleError: the parts of the bundle, or of the version that is there, disagree; or that is another model.
    """
    manifest = check_bundle(bundle)
    manifest = dataclasses.replace(manifest, about={**manifest.about, **about})
    target = Path(served) / str(version)
    if target.exists():
        present = check_bundle(target)
        if present.files != manifest.files:
            raise BundleError(
                f"A version in TF Serving's folder must never change. Received: another model for {target}. "
                "Run the span again with `--redo`, which gives it the next revision."
            )
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    # TF Serving looks at numbers only, so the half-written folder is invisible to it.
    beside = target.parent / f".{version}{_PARTIAL}"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        shutil.copytree(bundle, beside)
        manifest.write(beside)
        _make_durable(beside)
        os.rename(beside, target)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    _sync(target.parent)
    return target


def versions(served: str | Path) -> list[int]:
    """The versions in TF Serving's folder, oldest first."""
    folder = Path(served)
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal()) if folder.is_dir() else []


def drop_old(served: str | Path, keep: int) -> list[int]:
    """Removes all but the newest `keep` versions, and what a push or removal that was cut off has left.

    Returns:
      The versions removed, oldest first.
    """
    folder = Path(served)
    for leftover in (*folder.glob(f".*{_REMOVED}"), *folder.glob(f".*{_PARTIAL}")):
        shutil.rmtree(leftover)
    old = versions(folder)[:-keep]
    for version in old:
        # Renamed first: a removal that is cut off must not leave half a version behind.
        gone = folder / f".{version}{_REMOVED}"
        os.rename(folder / str(version), gone)
        shutil.rmtree(gone)
    return old


def _make_durable(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
