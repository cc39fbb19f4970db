"""A version appears in TF Serving's folder whole or not at all, whatever fails on the way."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.span_pusher.version_folder import PushError, drop_old, push, take_out, versions
from serving.bundle import BundleError, Manifest, check_bundle, fingerprints

VERSION = 2013030101


def make_bundle(folder: Path, content: str = "weights") -> Path:
    """The files of a bundle; what is in them is of no concern to a push."""
    for name in ("saved_model.pb", "variables/variables.index", "variables/variables.data", "assets/items.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{content} in {name}")
    Manifest({"span": 15765}, fingerprints(folder)).write(folder)
    return folder


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle")


@pytest.fixture
def served(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "served"


def test_a_pushed_version_is_the_bundle_with_the_verdict_in_its_manifest(bundle: Path, served: Path) -> None:
    target = push(bundle, served, VERSION, {"verdict": "Blessed."})
    assert target == served / str(VERSION)
    assert check_bundle(target).about == {"span": 15765, "verdict": "Blessed."}
    assert fingerprints(target) == fingerprints(bundle)
    assert Manifest.read(bundle).about == {"span": 15765}
    assert [path.name for path in served.iterdir()] == [str(VERSION)]


def test_a_push_can_be_repeated(bundle: Path, served: Path) -> None:
    first = push(bundle, served, VERSION, {"verdict": "Blessed."})
    before = {path: path.stat().st_mtime_ns for path in served.rglob("*")}
    assert push(bundle, served, VERSION, {"verdict": "Blessed again."}) == first
    assert {path: path.stat().st_mtime_ns for path in served.rglob("*")} == before


def test_another_model_under_the_same_version_is_refused(bundle: Path, served: Path, tmp_path: Path) -> None:
    push(bundle, served, VERSION, {})
    with pytest.raises(BundleError, match=rf"must never change. Received: another model for .*{VERSION}"):
        push(make_bundle(tmp_path / "other", "other weights"), served, VERSION, {})
    assert fingerprints(served / str(VERSION)) == fingerprints(bundle)


def test_a_damaged_bundle_is_not_pushed(bundle: Path, served: Path) -> None:
    (bundle / "saved_model.pb").write_text("damaged")
    with pytest.raises(BundleError, match=r"part saved_model\.pb"):
        push(bundle, served, VERSION, {})
    assert not served.exists()


def test_a_damaged_version_does_not_pass_for_pushed(bundle: Path, served: Path) -> None:
    (push(bundle, served, VERSION, {}) / "saved_model.pb").write_text("damaged")
    with pytest.raises(BundleError, match=r"part saved_model\.pb"):
        push(bundle, served, VERSION, {})


class Steps:
    """Counts the calls that touch the disk while pushing, and makes the one with number `fail_at` fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fail_at: int, failure: BaseException) -> None:
        self.done: list[str] = []
        self._fail_at, self._failure = fail_at, failure
        for where, name in ((shutil, "copyfile"), (os, "fsync"), (os, "rename"), (os, "mkdir")):
            monkeypatch.setattr(where, name, self._wrap(name, getattr(where, name)))
        monkeypatch.setattr(Manifest, "write", self._wrap("manifest", Manifest.write))

    def _wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.done.append(name)
            if len(self.done) == self._fail_at:
                raise self._failure
            return call(*args, **kwargs)

        return counted


def steps_of_a_push(bundle: Path, served: Path) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        steps = Steps(patch, fail_at=0, failure=OSError())
        push(bundle, served, VERSION, {})
        return steps.done


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("failure", [FULL, KeyboardInterrupt()], ids=["disk full", "interrupted"])
def test_a_push_that_fails_at_any_step_leaves_no_half_version(
    bundle: Path, tmp_path: Path, failure: BaseException
) -> None:
    steps = steps_of_a_push(bundle, tmp_path / "counted")
    assert {"copyfile", "mkdir", "manifest", "rename"} < set(steps)
    assert steps[-2:] == ["rename", "fsync"]
    for number in range(1, len(steps) + 1):
        served = tmp_path / f"served{number}"
        with pytest.MonkeyPatch.context() as patch:
            Steps(patch, number, failure)
            explained = failure is FULL and number < len(steps)
            with pytest.raises(PushError if explained else type(failure)):
                push(bundle, served, VERSION, {})
        left = [path.name for path in served.iterdir()] if served.exists() else []
        if number == len(steps):
            # It is in place already: only that it outlives a power cut could not be made sure of.
            assert check_bundle(served / left[0]).files == fingerprints(bundle)
        else:
            assert left == []
        assert check_bundle(push(bundle, served, VERSION, {})).files == fingerprints(bundle)
        assert versions(served) == [VERSION]


def test_a_push_that_was_killed_before_any_step_is_finished_by_the_next(bundle: Path, tmp_path: Path) -> None:
    """A killed process cleans nothing up."""
    steps = steps_of_a_push(bundle, tmp_path / "counted")
    for number in range(1, len(steps) + 1):
        served = tmp_path / f"killed{number}"
        with pytest.MonkeyPatch.context() as patch:
            Steps(patch, number, SystemExit())
            patch.setattr(shutil, "rmtree", lambda *args, **kwargs: None)
            with pytest.raises(SystemExit):
                push(bundle, served, VERSION, {})
        for version in versions(served):
            assert check_bundle(served / str(version)).files == fingerprints(bundle)
        push(bundle, served, VERSION, {})
        drop_old(served, keep=3)
        assert check_bundle(served / str(VERSION)).files == fingerprints(bundle)
        assert [path.name for path in served.iterdir()] == [str(VERSION)]


def test_all_is_made_durable_before_it_is_seen(bundle: Path, served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync, rename = os.fsync, os.rename

    def noting(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def renaming(source: Path, target: Path) -> None:
        assert {str(path) for path in (source, *Path(source).rglob("*"))} == set(synced)
        synced.clear()
        rename(source, target)

    monkeypatch.setattr(os, "fsync", noting)
    monkeypatch.setattr(os, "rename", renaming)
    push(bundle, served, VERSION, {})
    assert synced == [str(served)]


def test_versions_are_the_numbered_folders_in_order(served: Path) -> None:
    assert versions(served) == []
    for name in ("10", "9", "100", ".11.partial", ".12.removed", "notes", "models.config"):
        (served / name).mkdir(parents=True)
    assert versions(served) == [9, 10, 100]


def test_only_the_newest_versions_are_kept(bundle: Path, served: Path) -> None:
    for version in (2013030101, 2013022801, 2013030102, 2013030201):
        push(bundle, served, version, {})
    assert drop_old(served, keep=2) == [2013022801, 2013030101]
    assert versions(served) == [2013030102, 2013030201]
    assert drop_old(served, keep=2) == []
    assert drop_old(served, keep=5) == []
    assert versions(served) == [2013030102, 2013030201]


def test_a_labelled_version_is_kept_however_old(bundle: Path, served: Path) -> None:
    for version in (1, 2, 3, 4, 5):
        push(bundle, served, version, {})
    assert drop_old(served, keep=2, labelled=(2, 5)) == [1, 3]
    assert versions(served) == [2, 4, 5]


def test_the_served_version_leaves_last_and_a_good_one_is_then_the_highest(
    bundle: Path, served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in (1, 2, 3, 4, 5):
        push(bundle, served, version, {})
    highest = []
    rename = os.rename

    def noting(source: Path, target: Path) -> None:
        rename(source, target)
        highest.append(versions(served)[-1])

    monkeypatch.setattr(os, "rename", noting)
    take_out(served, [5, 3, 4, 77])
    assert highest == [5, 5, 2]
    assert [path.name for path in sorted(served.iterdir())] == ["1", "2"]


def test_a_full_disk_is_explained(bundle: Path, served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    push(bundle, served, 1, {})
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(FULL))
    with pytest.raises(PushError, match=r"room for version 2: .* No space left.*`push\.keep_versions`"):
        push(bundle, served, 2, {})
    assert [path.name for path in served.iterdir()] == ["1"]


def test_a_removal_that_was_cut_off_is_finished(bundle: Path, served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in (1, 2):
        push(bundle, served, version, {})
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda path: (_ for _ in ()).throw(OSError("cut off")))
        with pytest.raises(OSError, match="cut off"):
            drop_old(served, keep=1)
    assert versions(served) == [2]  # half a version must not be seen
    push(bundle, served, 1, {})  # which clears the leftover away
    assert [path.name for path in sorted(served.iterdir())] == ["1", "2"]
    assert drop_old(served, keep=1) == [1]
    assert [path.name for path in served.iterdir()] == ["2"]


def test_every_user_may_read_what_is_pushed_whatever_the_umask(bundle: Path, served: Path) -> None:
    (bundle / "saved_model.pb").chmod(0o600)
    before = os.umask(0o077)
    try:
        push(bundle, served, VERSION, {})
    finally:
        os.umask(before)
    pushed = (served.parent, served, *served.rglob("*"))
    assert all(path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644) for path in pushed)
    assert (bundle / "saved_model.pb").stat().st_mode & 0o777 == 0o600

    (served / str(VERSION) / "saved_model.pb").chmod(0o600)  # pushed by an earlier version
    push(bundle, served, VERSION, {})
    assert (served / str(VERSION) / "saved_model.pb").stat().st_mode & 0o777 == 0o644
