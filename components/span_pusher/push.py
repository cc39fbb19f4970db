"""One version in TF Serving's folder: written beside, made durable, then renamed. No TFX."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving.bundle import BundleError, Manifest, check_bundle


def push(bundle: str | Path, served: str | Path, version: int, about: Mapping[str, Any]) -> Path:
    """Copies `bundle` to `served/version`, with `about` added to its manifest.

    At every moment `served/version` is either absent or whole. A version that is there already, with the same parts, is
    left alone, so that a push can be repeated.

    Raises:
      BundleError: the bundle's parts disagree, or another model has that version.
    """
    manifest = check_bundle(bundle)
    manifest = dataclasses.replace(manifest, about={**manifest.about, **about})
    target = Path(served) / str(version)
    if target.exists():
        present = Manifest.read(target)
        if present.files != manifest.files:
            raise BundleError(
                f"A version in TF Serving's folder must never change. Received: another model for {target}. "
                "Run the span again with `--redo`, which gives it the next revision."
            )
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    # TF Serving looks at numbers only, so the half-written folder is invisible to it.
    beside = target.parent / f".{version}.partial"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        shutil.copytree(bundle, beside)
        manifest.write(beside)
        _make_durable(beside)
        os.rename(beside, target)
    except OSError:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    _sync(target.parent)
    return target


def versions(served: str | Path) -> list[int]:
    """The versions in TF Serving's folder, oldest first."""
    folder = Path(served)
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal()) if folder.is_dir() else []


def drop_old(served: str | Path, keep: int) -> list[int]:
    """Removes all but the newest `keep` versions; returns those removed."""
    old = versions(served)[:-keep]
    for version in old:
        # Renamed first: a removal that is cut off must not leave half a version behind.
        gone = Path(served) / f".{version}.removed"
        os.rename(Path(served) / str(version), gone)
        shutil.rmtree(gone)
    for leftover in Path(served).glob(".*.removed"):
        shutil.rmtree(leftover)
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
