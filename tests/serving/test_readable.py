"""Others may read what a server reads, and pass what lies above it; nothing is taken from anybody."""

from __future__ import annotations

from pathlib import Path

from serving.readable import closed_folder, let_others_read


def modes(folder: Path) -> dict[str, str]:
    paths = (folder, *sorted(folder.rglob("*")))
    return {str(path.relative_to(folder)): oct(path.stat().st_mode & 0o777) for path in paths}


def test_a_folder_is_opened_with_all_below_it_and_above_it_up_to_the_top(tmp_path: Path) -> None:
    (tmp_path / "root/serving/shop/7/variables").mkdir(parents=True)
    (tmp_path / "root/serving/shop/7/variables/data").touch()
    (tmp_path / "root/serving/shop/6").mkdir()
    (tmp_path / "secret").touch()
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o620)
    (tmp_path / "root/serving/shop/7/link").symlink_to(tmp_path / "secret")
    let_others_read(tmp_path / "root/serving/shop/7", top=tmp_path / "root/serving")
    closed, opened = "0o700", "0o755"
    assert modes(tmp_path) == {
        ".": closed, "root": closed, "secret": "0o620", "root/serving": opened, "root/serving/shop": opened,
        "root/serving/shop/6": closed, "root/serving/shop/7": opened, "root/serving/shop/7/link": "0o620",
        "root/serving/shop/7/variables": opened, "root/serving/shop/7/variables/data": "0o664",
    }  # fmt: skip


def test_the_folder_that_keeps_others_out_is_named(tmp_path: Path) -> None:
    (tmp_path / "root" / "serving").mkdir(parents=True)
    (tmp_path / "root").chmod(0o700)
    # pytest's own folders may be closed too, and lie above.
    assert closed_folder(tmp_path / "root" / "serving") == (closed_folder(tmp_path / "root") or tmp_path / "root")
    assert closed_folder(Path("/")) is None
