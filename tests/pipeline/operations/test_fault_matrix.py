"""No command ends in a stack trace, or loses anything, where the disk is full or can't be written to.

A disk of its own is mounted for it, in a namespace that goes with the process: this takes the rights of root.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from pipeline.config import load_config
from pipeline.operations.garbage_collection import make_cleanup
from serving.bundle import check_bundle
from tests.fault_injection import Helper, helper
from tests.pipeline.operations.test_adoption import tree
from tests.pipeline.recorded_root import VERSIONS, unpack


def can_mount() -> bool:
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        return False
    tried = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(tried, check=False, capture_output=True).returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(not can_mount(), reason="mounting a disk needs the rights of root"),
]

READ_ONLY = 'mount --bind "$ROOT" "$ROOT" && mount -o remount,ro,bind "$ROOT"'
# The whole root on a disk that has no byte left.
FULL = """\
mv "$ROOT" "$ROOT.kept" && mkdir "$ROOT"
mount -t tmpfs -o size=$(( $(du -sk "$ROOT.kept" | cut -f1) + 300 ))k none "$ROOT"
cp -a "$ROOT.kept/." "$ROOT/" && { dd if=/dev/zero of="$ROOT/filler" bs=1k 2>/dev/null || true; }
"""
AFTER_FULL = 'rm "$ROOT/filler"; cp -a "$ROOT/." "$ROOT.kept/"; umount "$ROOT"; rmdir "$ROOT"; mv "$ROOT.kept" "$ROOT"'
COMMANDS = (
    "run",
    "promote 2024050201",
    "rollback --bad 2024050301 --yes --wait 0",
    "gc --restore",
    "forget --user u00062 --yes",
    "forget --span 2024-05-03 --yes",
    "report --out run/page.html",
)


@pytest.fixture(scope="module")
def child() -> Iterator[Helper]:
    with helper("tests.pipeline.operations.faulty_disk") as process:
        yield process


@pytest.mark.parametrize(("fault", "after"), [(READ_ONLY, ":"), (FULL, AFTER_FULL)], ids=["read-only", "full"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.replace(" ", "_"))
def test_it_is_a_sentence_and_the_champion_is_served(tmp_path, child, fault, after, command):
    config = unpack(tmp_path / "shop")
    before = tree(config.root)
    arguments = (str(tmp_path), str(config.root), fault, after, *command.split())
    code = child.call("tests.pipeline.operations.faulty_disk:command_on", *arguments)
    printed, said = ((tmp_path / name).read_text() for name in ("stdout", "stderr"))
    assert code in (0, 1), said
    assert "Traceback" not in said + printed, said
    if code:
        assert "must" in said
        assert any(words in said for words in ("Read-only file system", "No space left", "disk is full", "readonly"))
    if fault == READ_ONLY:
        assert tree(config.root) == before
    for version in VERSIONS:
        check_bundle(config.serving_path / str(version))
    if not command.startswith("forget"):  # that is ended by the next command
        assert make_cleanup(load_config(tmp_path / "shop" / "warmspan.yaml")) is not None
