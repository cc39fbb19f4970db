"""A bundle is written whole or not at all, and refused when its parts disagree."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.bundle import MANIFEST, BundleError, Manifest, check_bundle, fingerprints, write_bundle
from trainer.keras2 import tf

ABOUT = {"span": 7, "metrics": {"recall": 0.25}, "title": "día 🎬"}
VARIABLES = "variables/variables.data-00000-of-00001"


class Doubling(tf.Module):
    """The least that can be saved: one variable and one signature."""

    def __init__(self) -> None:
        super().__init__()
        self.two = tf.Variable(2.0)

    def build(self) -> dict[str, Any]:
        double = tf.function(lambda x: {"y": x * self.two}, autograph=False)
        return {"serving_default": double.get_concrete_function(tf.TensorSpec([None], tf.float32, "x"))}

    def warm_up(self) -> list[tuple[str, dict[str, np.ndarray]]]:
        return [("serving_default", {"x": np.array([1.5, 2.5], np.float32)})]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_bundle(Doubling(), tmp_path / "bundle", ABOUT)
    return tmp_path / "bundle"


def test_what_is_written_is_checked_and_read_back(bundle: Path) -> None:
    manifest = check_bundle(bundle)
    assert manifest == Manifest.read(bundle)
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file() and path.name != MANIFEST)
    about = {"signatures": ["serving_default"], "tables": {"float32": 4}, "bytes": size}
    assert manifest.about == {**ABOUT, **about}
    assert {"saved_model.pb", "variables/variables.index", VARIABLES} <= set(manifest.files)
    for name, digest in manifest.files.items():
        assert hashlib.sha256((bundle / name).read_bytes()).hexdigest() == digest
    assert tf.saved_model.load(str(bundle)).signatures["serving_default"](x=tf.constant([3.0]))["y"].numpy() == [6.0]


def test_the_folder_holds_nothing_else_and_others_may_read_it(bundle: Path) -> None:
    """TF Serving's container runs as another user."""
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o755


def test_a_large_file_is_read_in_pieces(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "large").write_bytes(content)
    assert fingerprints(tmp_path) == {"large": hashlib.sha256(content).hexdigest()}


@pytest.mark.parametrize("part", ["saved_model.pb", VARIABLES])
def test_a_changed_part_is_refused_with_both_fingerprints(bundle: Path, part: str) -> None:
    before = Manifest.read(bundle).files[part]
    content = bytearray((bundle / part).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / part).write_bytes(content)
    with pytest.raises(BundleError) as refusal:
        check_bundle(bundle)
    assert f"part {part}, manifest says {before}, found {hashlib.sha256(content).hexdigest()}" in str(refusal.value)


def test_a_missing_part_is_refused(bundle: Path) -> None:
    digest = Manifest.read(bundle).files[VARIABLES]
    (bundle / VARIABLES).unlink()
    with pytest.raises(BundleError, match=f"part {VARIABLES}, manifest says {digest}, found nothing"):
        check_bundle(bundle)


def test_an_added_part_is_refused(bundle: Path) -> None:
    (bundle / "assets" / "items.txt").parent.mkdir(exist_ok=True)
    (bundle / "assets" / "items.txt").write_text("another day's")
    digest = hashlib.sha256(b"another day's").hexdigest()
    with pytest.raises(BundleError, match=f"part assets/items.txt, manifest says no such part, found {digest}"):
        check_bundle(bundle)


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"{}",
        b'{"format": 1, "about": {}}',
        b"\xff\xfe",
        b'{"format": 1, "files": 3}',
    ],
)
def test_a_manifest_that_is_none_is_refused(bundle: Path, content: bytes | None) -> None:
    (bundle / MANIFEST).unlink()
    if content is not None:
        (bundle / MANIFEST).write_bytes(content)
    with pytest.raises(BundleError, match=r"readable manifest.json. Received: .*manifest.json"):
        check_bundle(bundle)


def test_another_format_is_refused(bundle: Path) -> None:
    raw = json.loads((bundle / MANIFEST).read_text())
    (bundle / MANIFEST).write_text(json.dumps({**raw, "format": 2}))
    with pytest.raises(BundleError, match=r"format must be 1\. Received: 2"):
        check_bundle(bundle)


def test_an_existing_bundle_is_not_written_over(bundle: Path) -> None:
    with pytest.raises(BundleError, match="must not exist"):
        write_bundle(Doubling(), bundle, {})
    assert check_bundle(bundle).about.items() >= ABOUT.items()
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize(
    "step", ["serving.bundle.manifest.fingerprints", "serving.bundle.manifest.Manifest.write", "os.rename"]
)
def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(step, full)
    with pytest.raises(OSError, match="No space left"):
        write_bundle(Doubling(), tmp_path / "bundle", ABOUT)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_leaves_nothing(tmp_path: Path) -> None:
    class Broken(Doubling):
        def build(self) -> dict[str, Any]:
            raise RuntimeError("no graph")

    with pytest.raises(RuntimeError, match="no graph"):
        write_bundle(Broken(), tmp_path / "bundle", ABOUT)
    assert list(tmp_path.iterdir()) == []
