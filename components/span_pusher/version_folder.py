"""TF Serving's folder of one model: a version enters it, and leaves it, by a rename. No TFX.

TF Serving looks at folders whose name is a number. What is being written or removed has another name, so that a
process that is killed at any moment leaves whole versions behind, and something that the next push clears away.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from components.span_pusher.streamed_versions import is_streamed, locked
from serving.bundle import BundleError, check_bundle
from serving.readable import let_others_read
from trainer.atomic_write import sync

_PARTIAL, _REMOVED = ".partial", ".removed"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class PushError(RuntimeError):
    """A version can't be written; the message says why and what to do. The folder is as it was."""


def push(bundle: str | Path, served: str | Path, version: int, about: Mapping[str, Any]) -> Path:
    """Copies `bundle` to `served/version`, with `about` added to its manifest; every user may read it there.

    At every moment `served/version` is either absent or whole. A version that is there already, with the same parts,
    is left alone, so that a push can be repeated.

    Raises:
      BundleError: the parts of the bundle, or of the version that is there, disagree; or that is another model.
      PushError: the disk is full.
    """
    with locked(served):
        return _push(bundle, served, version, about)


def _push(bundle: str | Path, served: str | Path, version: int, about: Mapping[str, Any]) -> Path:
    manifest = check_bundle(bundle)
    manifest = dataclasses.replace(manifest, about={**manifest.about, **about})
    folder = Path(served)
    target = folder / str(version)
    clear_leftovers(folder)
    if target.exists():
        present = check_bundle(target)
        if present.files != manifest.files:
            raise BundleError(
                f"A version in TF Serving's folder must never change. Received: another model for {target}. "
                "Run the span again with `--redo`, which gives it the next revision."
            )
        let_others_read(target, top=folder.parent)  # it may have been pushed by an earlier version
        return target
    beside = beside_version(folder, version)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _copy(Path(bundle), beside)
        manifest.write(beside)
        enter(beside, target)
    except BaseException as error:
        shutil.rmtree(beside, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise PushError(_no_room(Path(bundle), folder, version, error)) from None
        raise
    sync(folder)
    return target


def beside_version(served: str | Path, version: int) -> Path:
    """Where a version is written before it enters; `clear_leftovers` removes what stayed there."""
    return Path(served) / f".{version}{_PARTIAL}"


def enter(beside: Path, target: Path) -> None:
    """Puts a version written beside in its place, whole and for every user to read; what is there leaves first.

    That it stands there outlives a power cut once the folder is synced, which is the caller's: it can't be undone then.
    """
    let_others_read(beside, top=target.parent.parent)
    _make_durable(beside)
    if target.exists():
        os.rename(target, target.parent / f".{target.name}{_REMOVED}")
    os.rename(beside, target)


def versions(served: str | Path) -> list[int]:
    """The nightly versions in TF Serving's folder, oldest first."""
    return [version for version in _every(served) if not is_streamed(version)]


def streamed(served: str | Path) -> list[int]:
    """The versions in it that a stream has pushed, oldest first."""
    return [version for version in _every(served) if is_streamed(version)]


def drop_streamed(served: str | Path) -> list[int]:
    """Removes what a stream has pushed: what a night or a person decides takes its place. Returns as `drop_old`."""
    own = streamed(served)
    take_out(served, own)
    return own


def drop_old(served: str | Path, keep: int, labelled: Collection[int] = ()) -> list[int]:
    """Removes all but the newest `keep` versions and those that are `labelled`.

    Returns:
      The versions removed, oldest first.
    """
    old = [version for version in versions(served)[:-keep] if version not in labelled]
    take_out(served, old)
    return old


def take_out(served: str | Path, leaving: Iterable[int]) -> None:
    """Takes versions out of the folder, the highest one last; those that are not there are passed over.

    TF Serving serves the highest version. So it goes on serving the one that it serves until the very last rename,
    which leaves it the highest of those that stay; never one in between.
    """
    folder = Path(served)
    with locked(folder):
        clear_leftovers(folder)
        present = set(_every(folder))
        gone = sorted(present.intersection(leaving))
        for version in gone:
            os.rename(folder / str(version), folder / f".{version}{_REMOVED}")
        if gone:
            sync(folder)
            clear_leftovers(folder)


def clear_leftovers(served: str | Path) -> None:
    """Removes what a push or a removal that was cut off has left."""
    folder = Path(served)
    for leftover in (*folder.glob(f".*{_REMOVED}"), *folder.glob(f".*{_PARTIAL}")):
        shutil.rmtree(leftover)


def _every(served: str | Path) -> list[int]:
    folder = Path(served)
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal()) if folder.is_dir() else []


def _copy(source: Path, target: Path) -> None:
    """As `shutil.copytree`, which however gathers all errors of a full disk into one that hides their kind."""
    os.mkdir(target)
    for path in sorted(source.rglob("*")):
        copied = target / path.relative_to(source)
        if path.is_dir():
            os.mkdir(copied)
        else:
            shutil.copyfile(path, copied)


def _make_durable(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        sync(path)
    sync(folder)


def _no_room(bundle: Path, folder: Path, version: int, error: OSError) -> str:
    bundle_bytes = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    there = folder if folder.exists() else folder.parent
    free = shutil.disk_usage(there).free if there.exists() else 0
    return (
        f"The disk must have room for version {version}: {bundle_bytes / 1e6:.1f} MB. Received: {error.strerror}, "
        f"{free / 1e6:.1f} MB free under {there}. Nothing was changed: what was served is served on. Make room, for "
        "example by a lower `push.keep_versions`, and run again."
    )
