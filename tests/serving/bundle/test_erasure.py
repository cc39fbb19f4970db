"""A user leaves a bundle: it is whole, every other answer is what it was, and a cut-off exchange is mended."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.bundle import check_bundle, write_bundle
from serving.bundle.erasure import bundle_names, erase_in_bundle, exchange, mend_exchange
from serving.bundle.id_lookup import IdTable
from serving.bundle.warmup_requests import read_warm_up
from trainer.keras2 import tf

GONE, STAND_IN = b"user-4711", b"forgotten-abc"
USERS = [b"a", GONE, b"c"]
TABLE = np.arange(10, dtype=np.float32).reshape(5, 2) + 1


class Keyed(tf.Module):
    """A user's vector by his id."""

    def __init__(self) -> None:
        super().__init__()
        self.items = IdTable([b"x", b"y", b"z", b"w"], 2)
        self.keys = IdTable(USERS, 2)
        self.groups = tf.Variable([[GONE, b"c"]])
        self.parameters = [tf.Variable(1.0), tf.Variable(TABLE)]

    def build(self) -> dict[str, Any]:
        def vector(user_id: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"v": tf.gather(self.parameters[1], self.keys.rows(user_id))}

        function = tf.function(vector, autograph=False)
        return {"serving_default": function.get_concrete_function(tf.TensorSpec([None], tf.string, "user_id"))}

    def warm_up(self) -> list[tuple[str, dict[str, np.ndarray]]]:
        return [("serving_default", {"user_id": np.array([GONE, b"a"], object)})]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_bundle(Keyed(), tmp_path / "bundle", {"span": 7})
    return tmp_path / "bundle"


def ask(bundle: Path, *users: bytes) -> list[list[float]]:
    answer = tf.saved_model.load(str(bundle)).signatures["serving_default"](user_id=tf.constant(users))
    return answer["v"].numpy().tolist()


def bytes_of(bundle: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(bundle.rglob("*")) if path.is_file())


@pytest.mark.parametrize("tables", [[], [TABLE]])
def test_he_becomes_a_stranger_and_all_others_are_answered_as_before(bundle: Path, tables: list[np.ndarray]) -> None:
    before = ask(bundle, b"a", b"c", b"nobody")
    assert GONE in bytes_of(bundle)
    (bundle / "variables" / "variables.index").chmod(0o640)
    modes = {path: path.stat().st_mode for path in bundle.rglob("*")}
    assert erase_in_bundle(bundle, {GONE: STAND_IN}, [3], tables)
    assert GONE not in bytes_of(bundle)
    assert {path: path.stat().st_mode for path in bundle.rglob("*")} == modes
    manifest = check_bundle(bundle)
    assert manifest.about["span"] == 7
    assert manifest.about["bytes"] == sum((bundle / name).stat().st_size for name in manifest.files)
    assert ask(bundle, b"a", b"c", b"nobody") == before
    assert ask(bundle, GONE) == ask(bundle, b"nobody")
    assert ask(bundle, STAND_IN) == [[0.0, 0.0]], "his vector is gone"
    assert read_warm_up(bundle)[0][1]["user_id"].tolist() == [b"none of the ids", b"a"]
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]
    whole = bytes_of(bundle)
    assert not erase_in_bundle(bundle, {GONE: STAND_IN}, [3], tables)
    assert bytes_of(bundle) == whole


def test_two_copies_are_rewritten_to_the_same_parts(bundle: Path) -> None:
    copy = bundle.with_name("2013030101")
    shutil.copytree(bundle, copy)
    for folder in (bundle, copy):
        erase_in_bundle(folder, {GONE: STAND_IN}, [3], [TABLE])
    assert check_bundle(bundle).files == check_bundle(copy).files


def test_a_bundle_that_does_not_know_him_is_left_alone(bundle: Path) -> None:
    before = bytes_of(bundle)
    assert not bundle_names(bundle, [b"user-471", b"x"])
    assert not erase_in_bundle(bundle, {b"user-471": STAND_IN, b"x": b"y"}, [])
    assert bytes_of(bundle) == before


@pytest.mark.parametrize("moment", ["before", "between", "after"])
def test_an_exchange_that_was_cut_off_is_mended(tmp_path: Path, moment: str) -> None:
    folder, beside, away = tmp_path / "7", tmp_path / ".7.rewritten", tmp_path / ".7.exchanged"
    for path, text in ((folder, "old"), (beside, "new")):
        path.mkdir()
        (path / "part").write_text(text)
    if moment != "before":
        folder.rename(away)
    if moment == "after":
        beside.rename(folder)
    mend_exchange(folder)
    assert (folder / "part").read_text() == ("old" if moment == "before" else "new")
    assert [path.name for path in tmp_path.iterdir()] == ["7"]
    beside.mkdir()
    exchange(folder, beside)
    assert list(folder.iterdir()) == []
