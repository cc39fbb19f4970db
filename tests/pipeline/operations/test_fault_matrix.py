"""No command ends in a stack trace, or loses anything, where the disk is full or can't be written to.

A disk of its own is mounted for it, in a namespace that goes with the process: this takes the rights of root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config import load_config
from pipeline.operations.garbage_collection import make_cleanup
from serving.bundle import check_bundle
from tests.pipeline.operations.test_adoption import tree
from tests.pipeline.recorded_root import VERSIONS, unpack

ROOT = Path(__file__).resolve().parents[3]


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


@pytest.mark.parametrize(("fault", "after"), [(READ_ONLY, ":"), (FULL, AFTER_FULL)], ids=["read-only", "full"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.replace(" ", "_"))
def test_it_is_a_sentence_and_the_champion_is_served(tmp_path, fault, after, command):
    config = unpack(tmp_path / "shop")
    before = tree(config.root)
    script = (
        f"set -e; {fault}\n"
        f"cd {tmp_path}/shop; set +e; {sys.executable} -W ignore -c 'from warmspan import main; main()' {command}\n"
        f"code=$?; cd /; {after}; exit $code"
    )
    environment = {**os.environ, "ROOT": str(config.root), "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        ["unshare", "--mount", "bash", "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode in (0, 1), ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout, ended.stderr
    if ended.returncode:
        said = ended.stderr
        assert "must" in said
        assert any(words in said for words in ("Read-only file system", "No space left", "disk is full", "readonly"))
    if fault == READ_ONLY:
        assert tree(config.root) == before
    for version in VERSIONS:
        check_bundle(config.serving_path / str(version))
    if not command.startswith("forget"):  # that is ended by the next command
        assert make_cleanup(load_config(tmp_path / "shop" / "warmspan.yaml")) is not None
