"""An export is loaded and asked before anybody else does, and refused in a sentence."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.bundle import Manifest, fingerprints, write_bundle
from serving.bundle.protocols import UNAVAILABLE
from serving.bundle.reference_answers import Reference, make_reference
from serving.bundle.saved_model import SavedModel
from serving.bundle.validation import validate
from serving.bundle.warmup_requests import WARM_UP_FILE, read_warm_up, write_warm_up
from tests.serving.bundle.test_manifest import Doubling
from tests.serving.recommenders import HISTORY, Shop, export, make_shop

ids = st.binary(max_size=6)


def reference_of(shop: Shop, k: int = 5, exclude_seen: bool = True) -> Reference:
    """Of histories with rows of every kind, padding and strangers among them."""
    random = np.random.default_rng(1)
    history = random.integers(1, shop.model.sizes.items, (12, HISTORY))
    history[np.arange(HISTORY)[None, :] < random.integers(0, HISTORY + 1, (12, 1))] = 0
    key = random.integers(0, shop.model.sizes.keys, 12)
    return make_reference(shop.model.score_all, key, history, [], shop.catalogue, k, exclude_seen)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Reference]:
    shop = make_shop(50, 6, dimension=4)
    reference = reference_of(shop)
    return export(shop, tmp_path_factory.mktemp("shop") / "bundle", 8), reference


def test_a_good_export_is_found_good(made: tuple[Path, Reference]) -> None:
    validation = validate(*made, 10_000.0)
    assert validation.refusal == ""
    assert validation.figures["recall"] == 1.0
    assert 0 < validation.figures["latency_ms"] < 10_000
    assert validation.figures["load_seconds"] > 0
    assert validation.figures["size_ratio"] > 1


@pytest.mark.parametrize("type_", ["two_tower", "sasrec", "ranking"])
@pytest.mark.parametrize("exclude_seen", [True, False])
def test_the_reference_is_what_any_model_answers(tmp_path: Path, type_: str, exclude_seen: bool) -> None:
    shop = make_shop(50, 6, type_, dimension=4)
    reference = reference_of(shop, exclude_seen=exclude_seen)
    assert all(len(items) == 10 for items in reference.items)
    folder = export(shop, tmp_path / "bundle", 8, exclude_seen=exclude_seen)
    assert validate(folder, reference, 10_000.0).refusal == ""


def changed(reference: Reference, items: Callable[[list[bytes]], list[bytes]]) -> Reference:
    return dataclasses.replace(reference, items=[items(list(item)) for item in reference.items])


@pytest.mark.parametrize(
    ("items", "words"),
    [
        (lambda items: items[::-1], r"Received: for user b'.*' at place 1 b'item \d+', which the model scored"),
        (lambda items: [b"other", *items[1:]], "at place 1 .* which the model none of its best"),
    ],
)
def test_another_answer_than_the_trained_model_s_is_refused(
    made: tuple[Path, Reference], items: Callable, words: str
) -> None:
    folder, reference = made
    validation = validate(folder, changed(reference, items), 10_000.0)
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(validation.refusal)
    assert "\n" not in validation.refusal


def test_items_that_score_the_same_may_change_places() -> None:
    reference = Reference([b"u"], [[]], [[b"a", b"b", b"c"]], [[1.0, 1.0 - 1e-7, 0.5]], [], 2)
    assert reference.differs(0, [b"b", b"a"], [1.0, 1.0]) == ""
    assert reference.differs(0, [b"a"], [1.0]) == "1 items instead of 2"
    assert "b'c', which the model scored 0.5" in reference.differs(0, [b"a", b"c"], [1.0, 1.0])
    assert "with 0.7 for 1" in reference.differs(0, [b"a", b"b"], [1.0, 0.7])


def rewritten(folder: Path, bundle: Path, **about: Any) -> Path:
    """A copy that says something else of itself."""
    folder.mkdir()
    for path in bundle.rglob("*"):
        target = folder / path.relative_to(bundle)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            target.write_bytes(path.read_bytes())
    Manifest({**Manifest.read(bundle).about, **about}, fingerprints(folder)).write(folder)
    return folder


def test_an_index_that_finds_too_little_is_refused(tmp_path: Path, made: tuple[Path, Reference]) -> None:
    lossy = {"type": "exact", "table": "int8", "min_recall": 0.9, "recall": 0.99}
    folder = rewritten(tmp_path / "bundle", made[0], index=lossy)
    assert validate(folder, made[1], 10_000.0).refusal == ""
    validation = validate(folder, changed(made[1], lambda items: [items[0], *[b"other"] * 9]), 10_000.0)
    assert validation.refusal.startswith("The index must find 90.0% of the trained model's best 5")
    assert validation.figures["recall"] < 0.9


def test_a_slow_export_and_one_without_a_reference(made: tuple[Path, Reference]) -> None:
    assert validate(made[0], None, 10_000.0).refusal == ""
    assert "must be answered within 1e-06 ms" in validate(made[0], made[1], 1e-6).refusal


def test_a_model_that_answers_no_number_is_refused(tmp_path: Path) -> None:
    class Broken(Doubling):
        def warm_up(self) -> list[tuple[str, dict[str, np.ndarray]]]:
            return [("serving_default", {"x": np.array([np.inf], np.float32)})]

    write_bundle(Broken(), tmp_path / "bundle", {})
    assert "y of `serving_default` has others" in validate(tmp_path / "bundle", None, 10_000.0).refusal


def test_a_signature_that_fails_is_refused(tmp_path: Path) -> None:
    class Other(Doubling):
        def warm_up(self) -> list[tuple[str, dict[str, np.ndarray]]]:
            return [("recommend", {"x": np.zeros(1, np.float32)})]

    write_bundle(Other(), tmp_path / "bundle", {})
    assert '"recommend" not found' in validate(tmp_path / "bundle", None, 10_000.0).refusal


def test_what_is_missing_or_damaged_is_refused(tmp_path: Path, made: tuple[Path, Reference]) -> None:
    assert "must hold a readable manifest.json" in validate(tmp_path / "nowhere", None, 1.0).refusal
    folder = rewritten(tmp_path / "bundle", made[0])
    (folder / "saved_model.pb").write_bytes(b"no graph")
    assert "part saved_model.pb, manifest says" in validate(folder, None, 1.0).refusal
    Manifest({}, fingerprints(folder)).write(folder)
    refusal = validate(folder, None, 1.0).refusal
    assert refusal.startswith("The export must load and answer. Received: INVALID_ARGUMENT")
    assert "\n" not in refusal


@given(
    users=st.lists(ids, min_size=1, max_size=3),
    histories=st.lists(st.lists(ids, max_size=3), min_size=3, max_size=3),
    score=st.floats(-1e9, 1e9),
)
def test_a_reference_comes_back_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, users: list, histories: list, score: float
) -> None:
    path = tmp_path_factory.mktemp("reference") / "reference.json"
    histories = histories[: len(users)]
    reference = Reference(
        users, histories, histories, [[score] * len(history) for history in histories], [b"\x00\xff"], 3
    )
    reference.save(path)
    assert Reference.load(path) == reference


def test_warm_up_requests_are_replayed_by_a_server_and_cover_what_a_user_asks(made: tuple[Path, Reference]) -> None:
    folder, _ = made
    recorded = read_warm_up(folder)
    assert {name for name, _ in recorded} == {"serving_default", "recommend", "rank", "embed"}
    assert SavedModel("shop", 1, folder).warm_up() == len(recorded) == 5
    assert str(WARM_UP_FILE) in Manifest.read(folder).files


@given(texts=st.lists(ids, min_size=1, max_size=3))
def test_warm_up_requests_come_back(tmp_path_factory: pytest.TempPathFactory, texts: list[bytes]) -> None:
    folder = tmp_path_factory.mktemp("model")
    wanted = {"history": np.array([texts], object), "k": np.array([3], np.int32)}
    write_warm_up(folder, [("recommend", wanted), ("rank", {})])
    (name, inputs), other = read_warm_up(folder)
    assert (name, other) == ("recommend", ("rank", {}))
    assert inputs["history"].tolist() == [texts]
    assert inputs["k"].tolist() == [3]


def test_a_stranger_stands_for_each_row_of_unknown_ids() -> None:
    shop = make_shop(20, 6, dimension=4)
    key, history = np.array([1, 2]), np.array([[0, 0, 0, 1, 2], [0, 0, 0, 0, 0]])
    reference = make_reference(shop.model.score_all, key, history, [], shop.catalogue, 3, True)
    assert shop.keys.lookup(list(reference.users)).tolist() == [1, 2]
    assert shop.items.lookup(list(reference.histories[0])).tolist() == [1, 2]
    assert reference.histories[1] == []
    assert reference.request(1)["history"].tolist() == [[b""]]
    assert max(max(scores) for scores in reference.scores) > UNAVAILABLE
