"""Bundles that one step leaves loaded for the next: the same ones, no others, and none that is not on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components import loaded_bundles
from components.incremental_trainer.artifact_files import SERVING_FOLDER
from tests.components.gate_runs import Scaled, judge
from trainer.keras2 import tf


@pytest.fixture(autouse=True)
def _nothing_left():
    loaded_bundles.drop()
    yield
    loaded_bundles.drop()


def bundle(folder: Path, name: str, number: int) -> str:
    class Model(tf.Module):
        @tf.function(autograph=False, input_signature=[])
        def answer(self) -> tf.Tensor:
            return tf.constant(number)

    uri = folder / name
    tf.saved_model.save(Model(), str(uri / SERVING_FOLDER))
    return str(uri)


def test_what_was_left_is_not_loaded_again(tmp_path):
    uris = [bundle(tmp_path, name, 1) for name in "ab"]
    first = {uri: loaded_bundles.load(uri) for uri in uris}
    assert loaded_bundles.load(uris[0]) is not first[uris[0]]
    loaded_bundles.leave(first)
    assert all(loaded_bundles.load(uri) is model for uri, model in first.items())


def test_no_more_is_kept_than_was_left_last(tmp_path):
    a, b = (bundle(tmp_path, name, 1) for name in "ab")
    of_a, of_b = loaded_bundles.load(a), loaded_bundles.load(b)
    loaded_bundles.leave({a: of_a})
    loaded_bundles.leave({b: of_b})
    assert loaded_bundles.load(a) is not of_a
    assert loaded_bundles.load(b) is of_b
    loaded_bundles.drop()
    assert loaded_bundles.load(b) is not of_b


def test_what_was_written_in_its_place_is_loaded(tmp_path):
    """As by another root under the same path, or by an erasure."""
    uri = bundle(tmp_path, "a", 1)
    loaded_bundles.leave({uri: loaded_bundles.load(uri)})
    (tmp_path / "a").rename(tmp_path / "former")
    assert int(loaded_bundles.load(bundle(tmp_path, "a", 2)).answer()) == 2


def test_only_small_bundles_are_left_where_memory_is_needed(tmp_path, monkeypatch):
    uri = bundle(tmp_path, "a", 1)
    model = loaded_bundles.load(uri)
    loaded_bundles.leave_if_small(uri, model)
    assert loaded_bundles.load(uri) is model
    loaded_bundles.drop()
    monkeypatch.setattr(loaded_bundles, "_SMALL", 100)
    loaded_bundles.leave_if_small(uri, model)
    assert loaded_bundles.load(uri) is not model


class Left(Scaled):
    """Stays loaded once it is saved."""

    def save(self, folder: Path) -> None:
        super().save(folder)
        loaded_bundles.leave({str(folder.parent): tf.saved_model.load(str(folder))})


# TFMA takes single numbers out of arrays in a way that NumPy deprecates.
@pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0 to a scalar:DeprecationWarning")
def test_the_gate_evaluates_what_was_left_and_leaves_nothing(tmp_path, monkeypatch):
    loaded: list[str] = []
    load = tf.saved_model.load

    def counted(path: str, *arguments: Any, **named: Any) -> Any:
        loaded.append(Path(path).parent.name)
        return load(path, *arguments, **named)

    monkeypatch.setattr(tf.saved_model, "load", counted)
    judge(tmp_path, {"thresholds": {"recall": {"floor": 0.1}}}, Left(1.0), Scaled(1.0))
    assert sorted(loaded) == ["candidate", "champion"]
    monkeypatch.undo()
    uri = str(tmp_path / "candidate")
    assert loaded_bundles.load(uri) is not loaded_bundles.load(uri)
