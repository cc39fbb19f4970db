"""A file or folder is the old one or the new one, never a part, and nothing is left beside it."""

from __future__ import annotations

import ast
import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.atomic_write import atomic_folder, atomic_write

ROOT = Path(__file__).resolve().parents[2]
# What can't be a file beside a file: versions of a model, folders that TFX or Beam own, what only moves, and folders
# that come into their place under a lock, or if what is in them is good.
OF_THEIR_OWN = {
    "trainer/atomic_write.py",
    "components/span_pusher/version_folder.py",
    "components/span_example_gen/executor.py",
    "components/span_example_gen/files.py",
    "components/span_example_gen/write_fn.py",
    "pipeline/operations/adoption.py",
    "pipeline/operations/garbage_collection.py",
    "pipeline/operations/trash.py",
    "pipeline/erasure/learned_rows.py",
    "pipeline/stream/day.py",
    "pipeline/stream/state.py",
}


class CutOffError(Exception):
    pass


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("before", [None, "old"])
def test_the_file_is_whole_or_as_it_was(tmp_path, before, durable):
    path = tmp_path / "folder" / "file.txt"
    if before is not None:
        path.parent.mkdir()
        path.write_text(before)
    with contextlib.suppress(CutOffError), atomic_write(path, durable=durable) as beside:
        beside.write_text("half")
        raise CutOffError
    assert (path.read_text() if path.exists() else None) == before
    assert [file.name for file in path.parent.iterdir()] == ([] if before is None else ["file.txt"])

    with atomic_write(path, durable=durable) as beside:
        beside.write_text("new")
        assert (path.read_text() if path.exists() else None) == before
    assert path.read_text() == "new"
    assert [file.name for file in path.parent.iterdir()] == ["file.txt"]


def test_where_it_is_written_can_be_chosen(tmp_path):
    with atomic_write(tmp_path / "file", beside=tmp_path / "elsewhere") as beside:
        beside.write_text("new")
        assert beside == tmp_path / "elsewhere"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path):
    path = tmp_path / "file[1].txt"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    killed, living = (tmp_path / f".file[1].txt.{pid}.partial" for pid in (ended.pid, os.getppid()))
    another = tmp_path / f".file1.txt.{ended.pid}.partial"
    for leftover in (killed, living, another):
        leftover.write_text("half")
    with atomic_write(path) as beside:
        beside.write_text("new")
    assert {file.name for file in tmp_path.iterdir()} == {path.name, living.name, another.name}


def test_the_folder_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "span"
    with atomic_folder(path) as beside:
        (beside / "a").write_text("old")
    with contextlib.suppress(CutOffError), atomic_folder(path) as beside:
        (beside / "b").write_text("half")
        raise CutOffError
    assert [file.name for file in path.iterdir()] == ["a"]
    with atomic_folder(path) as beside:
        assert list(beside.iterdir()) == [], "what was cut off is gone"
        (beside / "c").write_text("new")
    assert [file.name for file in path.iterdir()] == ["c"]
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_else_replaces_files_by_itself():
    renames = {
        str(path.relative_to(ROOT))
        for package in ("pipeline", "components", "trainer")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"replace", "rename"}
        if ast.unparse(node.value) in {"os", "shutil", "fileio", "beside", "partial"}
    }
    assert renames <= OF_THEIR_OWN
