"""A process that is killed while it changes the served folder, or whose disk is full, leaves whole versions only."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.span_pusher.version_folder import PushError, push, versions
from components.span_pusher.version_labels import read_labels, write_labels
from serving.bundle import check_bundle
from tests.components import folder_changes
from tests.components.folder_changes import CHANGES, make_bundle
from tests.fault_injection import DONE, FILLING, REFUSED, Helper, helper, why_no_strace

MODULE = "tests.components.folder_changes"
needs_strace = pytest.mark.skipif(bool(why_no_strace()), reason=why_no_strace() or "strace is there")


@pytest.fixture(scope="module")
def child() -> Iterator[Helper]:
    # What a change imports when it first needs it is imported before, so that it does not count.
    with helper(
        MODULE, "google.protobuf.text_format", "tensorflow_serving.config.model_server_config_pb2"
    ) as child_helper:
        yield child_helper


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For each change a folder as it is before it."""
    folder = tmp_path_factory.mktemp("starts")
    for name, (before, _) in CHANGES.items():
        for version in before:
            bundle = make_bundle(folder / "of" / name / str(version), f"model {version}")
            push(bundle, folder / name / "shop", version, {})
        make_bundle(folder / name / "bundle", "model 3")
    shutil.rmtree(folder / "of")
    return folder


def begin(starts: Path, name: str, tmp_path: Path) -> Path:
    """A new folder at the start of the change."""
    place = tmp_path / "place"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(starts / name, place)
    return place / "shop"


def assert_whole(served: Path, name: str) -> None:
    """Every version is whole, and the one that is served is the old or the new one."""
    before, after = CHANGES[name]
    present = versions(served)
    for version in present:
        check_bundle(served / str(version))
    assert present[-1] in {before[-1], after[-1]}
    assert set(before) & set(after) <= set(present) <= set(before) | set(after)


def assert_ends(served: Path, name: str) -> None:
    """Once more, and nothing of what was cut off is left."""
    assert not getattr(folder_changes, name)(str(served))
    assert sorted(path.name for path in served.iterdir()) == [str(version) for version in CHANGES[name][1]]
    assert_whole(served, name)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_that_is_killed_at_any_step_leaves_the_old_or_the_new(
    child: Helper, starts: Path, name: str, tmp_path: Path
) -> None:
    for number in range(1, 1000):
        served = begin(starts, name, tmp_path)
        status = child.call(f"{MODULE}:{name}", str(served), kill_at=number)
        assert_whole(served, name)
        if status == DONE:
            assert versions(served) == list(CHANGES[name][1])
            break
        assert status == -signal.SIGKILL
        assert_ends(served, name)
    assert number > {"push_one": 15, "drop_most": 5, "go_back": 8}[name]


@needs_strace
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_that_is_killed_at_any_system_call_that_writes_leaves_the_old_or_the_new(
    child: Helper, starts: Path, name: str, tmp_path: Path
) -> None:
    status, calls = child.traced(f"{MODULE}:{name}", str(begin(starts, name, tmp_path)))
    assert status == DONE
    assert {"rename", "fsync"} <= set(calls)
    for call, count in calls.items():
        for number in range(1, count + 1):
            served = begin(starts, name, tmp_path)
            inject = f"{call}:signal=SIGKILL:when={number}"
            status, _ = child.traced(f"{MODULE}:{name}", str(served), inject=inject)
            assert status == -signal.SIGKILL, inject
            assert_whole(served, name)
            assert_ends(served, name)


@needs_strace
def test_a_disk_that_is_full_from_any_call_on_leaves_the_old(child: Helper, starts: Path, tmp_path: Path) -> None:
    _, calls = child.traced(f"{MODULE}:push_one", str(begin(starts, "push_one", tmp_path)))
    tried = 0
    for call in FILLING:
        for number in range(1, calls[call] + 1):
            served = begin(starts, "push_one", tmp_path)
            status, _ = child.traced(f"{MODULE}:push_one", str(served), inject=f"{call}:error=ENOSPC:when={number}+")
            assert status == REFUSED, (call, number)
            assert sorted(path.name for path in served.iterdir()) == ["1", "2"]
            assert_ends(served, "push_one")
            tried += 1
    assert tried >= 5


@needs_strace
def test_labels_that_are_moved_in_a_killed_process_are_the_old_or_the_new(child: Helper, tmp_path: Path) -> None:
    served, old, new = tmp_path / "place" / "shop", {"stable": 1}, {"stable": 2, "canary": 2}
    file = served.parent / "models.config"
    served.mkdir(parents=True)
    write_labels(file, "shop", served, old)
    _, calls = child.traced(f"{MODULE}:move_label", str(served))
    assert {"rename", "fsync", "write"} <= set(calls)
    seen_labels = []
    for call, count in calls.items():
        for number in range(1, count + 1):
            write_labels(file, "shop", served, old)
            child.traced(f"{MODULE}:move_label", str(served), inject=f"{call}:signal=SIGKILL:when={number}")
            seen_labels.append(read_labels(file, "shop"))
            assert seen_labels[-1] in (old, new)
            assert not folder_changes.move_label(str(served))
            assert read_labels(file, "shop") == new
            assert {path.name for path in served.parent.iterdir()} == {"shop", "models.config"}
    assert old in seen_labels
    write_labels(file, "shop", served, old)
    for call in ("write", "rename"):
        status, _ = child.traced(f"{MODULE}:move_label", str(served), inject=f"{call}:error=ENOSPC:when=1")
        assert (status, read_labels(file, "shop")) == (REFUSED, old)


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk can't be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full_leaves_the_old_and_serves_the_new_once_there_is_room(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", "large", 300_000)
    with small_disk(tmp_path / "disk", "1500k") as disk:
        served = disk / "shop"
        push(bundle, served, 1, {})
        push(bundle, served, 2, {})
        with pytest.raises(PushError, match=r"room for version 3: 0\.6 MB\. Received: No space left on device, 0"):
            push(bundle, served, 3, {})
        assert sorted(path.name for path in served.iterdir()) == ["1", "2"]
        for version in (1, 2):
            check_bundle(served / str(version))
        shutil.rmtree(served / "1")
        push(bundle, served, 3, {})
        assert versions(served) == [2, 3]
