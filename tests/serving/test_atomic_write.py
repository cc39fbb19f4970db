"""A file or a folder appears whole or not at all, and nothing stays beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.atomic_write import new_folder, write_file


@pytest.fixture
def umask() -> Iterator[int]:
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def test_a_file_takes_the_place_of_the_other(tmp_path: Path, umask: int) -> None:
    file = tmp_path / "file"
    for content, wanted in (("Gruß\r\n", "Gruß\r\n".encode()), (b"\xff", b"\xff")):
        write_file(file, content)
        assert file.read_bytes() == wanted
    assert file.stat().st_mode & 0o777 == 0o666 & ~umask
    assert list(tmp_path.iterdir()) == [file]


def test_what_a_killed_process_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".file.partial").write_text("a longer text that was cut o")
    write_file(tmp_path / "file", "whole")
    assert (tmp_path / "file").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_file_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    write_file(tmp_path / "file", "old")

    def full(*arguments: object) -> None:
        assert (tmp_path / ".file.partial").read_text() == "new"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        write_file(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_text_that_is_no_utf_8_leaves_the_old_file(tmp_path: Path) -> None:
    write_file(tmp_path / "file", "old")
    with pytest.raises(UnicodeEncodeError):
        write_file(tmp_path / "file", "\ud800")
    assert (tmp_path / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_appears_when_it_is_whole(tmp_path: Path, umask: int) -> None:
    with new_folder(tmp_path / "7") as beside:
        beside.mkdir()
        (beside / "part").write_text("new")
        assert not (tmp_path / "7").exists()
    assert (tmp_path / "7" / "part").read_text() == "new"
    assert (tmp_path / "7").stat().st_mode & 0o777 == 0o777 & ~umask
    assert [path.name for path in tmp_path.iterdir()] == ["7"]


def test_a_folder_that_is_not_finished_is_gone(tmp_path: Path) -> None:
    def write() -> None:
        with new_folder(tmp_path / "7") as beside:
            beside.mkdir()
            (beside / "part").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "part").write_text("old")
    with pytest.raises(OSError, match="not empty"), new_folder(tmp_path / "7") as beside:
        beside.mkdir()
    assert (tmp_path / "7" / "part").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["7"]
