"""From the catalogue to rows of the vocabulary, to what the model is told, and to what is served."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from components.artifacts import Catalogue
from components.catalogue_gen.state import save_table
from components.incremental_trainer.artifact_files import REFERENCE_FILE, SERVING_FOLDER
from components.incremental_trainer.settings import PlacesForNew
from components.span_transform import vocabulary_growth
from components.span_transform.settings import Settings
from components.span_transform.vocabulary_growth import Vocabularies
from components.update_decider.decision import Decision
from serving.bundle import check_bundle
from serving.bundle.index_settings import IndexSettings
from serving.bundle.reference_answers import Reference
from serving.bundle.validation import validate
from tests.components.plain_settings import PLAIN, transform_settings
from tests.components.trained_days import FIRST, HISTORY, ITEMS, SETTINGS, Day, made, make_day, train
from tests.trainer.features.small_catalogue import FEATURES, table
from trainer.features.feature_state import FeatureState
from trainer.keras2 import tf
from trainer.settings import ModelSpec
from trainer.vocabulary import Vocabulary

GROWTH = transform_settings(features=FEATURES, item_min_count=2)


def kept(folder: Path, items: dict, span: int) -> str:
    folder.mkdir(parents=True)
    save_table(table(items, span), folder)
    return str(folder)


def grown(folder: Path, yesterday: Path | None, catalogue: str | None, items: list[str], span: int) -> Vocabularies:
    folder.mkdir(parents=True)
    before = Vocabularies.load(yesterday, 1)
    today = dataclasses.replace(before, items=before.items.grow(items, span, 2, 7.0))
    old = None if yesterday is None else str(yesterday)
    today = vocabulary_growth.with_catalogue(today, old, catalogue, str(folder), GROWTH)
    dataclasses.replace(today, keys=before.keys.grow(["k"], span, 1, 7.0)).save(folder)
    return today


def test_an_item_has_a_row_from_its_first_appearance_in_the_catalogue(tmp_path):
    listed = {"new": {"kind": "x"}, "met": {"kind": "y"}, "gone": {"kind": "z", "withdrawn": True}}
    catalogue = kept(tmp_path / "catalogue", listed, 5)
    first = grown(tmp_path / "5", None, catalogue, ["met", "seldom", "often", "often"], 5).items
    # `often` has enough events for a row; `met`, of the catalogue, has one alone, and a row all the same.
    assert first.ids.to_pylist() == [b"often", b"new", b"met"]
    assert (first.counts.tolist(), first.recent.tolist()) == ([2, 0, 1], [2.0, 0.0, 1.0])
    assert first.first_span.tolist() == [5, -1, 5]
    assert first.pending["id"].to_pylist() == [b"seldom"]
    assert FeatureState.load(tmp_path / "5", FEATURES).words["kind"].ids.to_pylist() == [b"x", b"y"]

    second = grown(tmp_path / "6", tmp_path / "5", kept(tmp_path / "more", listed | {"newer": {"kind": "w"}}, 6),
                   ["new", "gone", "gone"], 6).items  # fmt: skip
    assert second.ids.to_pylist() == [b"often", b"new", b"met", b"gone", b"newer"]
    assert (second.counts.tolist(), second.first_span.tolist()) == ([2, 1, 1, 2, 0], [5, 6, 5, 6, -1])
    assert FeatureState.load(tmp_path / "6", FEATURES).words["kind"].ids.to_pylist() == [b"x", b"y", b"w"]
    assert vocabulary_growth.first_met(str(tmp_path / "6"), "items", 6) == 2


def test_without_a_catalogue_nothing_is_other_than_before(tmp_path):
    today = grown(tmp_path / "5", None, None, ["a", "a"], 5)
    assert today.items.ids.to_pylist() == [b"a"]
    assert {path.name for path in (tmp_path / "5").iterdir()} == {
        "items.parquet", "items_pending.parquet", "keys.parquet", "keys_pending.parquet",
    }  # fmt: skip
    assert "features" not in PLAIN.transform.to_json()
    assert {"hide_unlisted", "features"} & {*json.loads(PLAIN.trainer.to_json())} == set()
    assert "features" not in json.loads(PLAIN.trainer.to_json())["model"]
    assert Settings.from_json(PLAIN.transform.to_json()) == PLAIN.transform
    assert Settings.from_json(GROWTH.to_json()) == GROWTH


@pytest.fixture
def day(tmp_path) -> Day:
    """Of whose six items the last has a row and no event."""
    of = make_day(tmp_path / "days", 7, 6, [(2, [2, 3, 4], 0), (3, [4, 2, 5, 6], 0)])
    items = Vocabulary.empty(1).grow(ITEMS[:5], 7, 1, 7.0).admit(ITEMS[5:], 7)
    items.save(of.vocabulary.uri, "items")
    FeatureState.load(None, FEATURES).grown(sold(), FEATURES, 7, -1).save(of.vocabulary.uri, FEATURES)
    return of


def sold():
    names = {0: {"kind": "x"}, 2: {"kind": "x", "withdrawn": True}, 5: {"kind": "x", "tags": ["t"], "price": 3.0}}
    return table({f"at {at}": values for at, values in names.items()}).set_column(
        0, "item", [[ITEMS[at] for at in names]]
    )


def recommended(model, k: int = 5) -> list[bytes]:
    loaded = tf.saved_model.load(str(Path(model.uri) / SERVING_FOLDER))
    answer = loaded.signatures["serving_default"](user_id=tf.constant([b"u1"]), history=tf.constant([[b"stranger"]]))
    return [item for item in answer["item_ids"].numpy()[0].tolist() if item]


@pytest.mark.parametrize("hide", [False, True])
def test_a_new_item_is_served_and_a_withdrawn_one_is_not(hide, day, tmp_path):
    catalogue = made(Catalogue, tmp_path / "catalogue")
    save_table(sold(), catalogue.uri)
    spec = ModelSpec("two_tower", {"dimension": 4, "negatives": 8}, HISTORY, FEATURES)
    settings = dataclasses.replace(SETTINGS, model=spec, max_k=9, hide_unlisted=hide)
    decision = Decision("cold_start", "No model is in service yet.", (7,))
    model = train(tmp_path / "first", day, decision, settings=settings, catalogue=catalogue)
    expected = {ITEMS[0], ITEMS[5]} if hide else {*ITEMS} - {ITEMS[2]}
    assert set(recommended(model)) == expected
    about = check_bundle(Path(model.uri) / SERVING_FOLDER).about
    assert [(feature["name"], feature["kind"]) for feature in about["features"]["item"]] == [
        ("kind", "category"), ("tags", "categories"), ("price", "number"),
    ]  # fmt: skip
    weights = np.load(Path(model.uri) / "state" / "weights.npz")
    assert weights["item_features/learned"].tolist() == [0.0] * FIRST + [1.0] * 5 + [0.0]
    assert type(settings).from_json(settings.to_json()) == settings


def test_a_catalogue_without_features_says_what_is_sold_and_no_more(day, tmp_path):
    catalogue = made(Catalogue, tmp_path / "catalogue")
    save_table(sold(), catalogue.uri)
    settings = dataclasses.replace(SETTINGS, max_k=9, hide_unlisted=False)
    decision = Decision("cold_start", "No model is in service yet.", (7,))
    model = train(tmp_path / "first", day, decision, settings=settings, catalogue=catalogue)
    assert set(recommended(model)) == {*ITEMS} - {ITEMS[2]}
    assert "features" not in check_bundle(Path(model.uri) / SERVING_FOLDER).about


@pytest.mark.parametrize("index", [IndexSettings(), IndexSettings("approximate", lists=2, probes=2, min_recall=0.0)])
def test_new_items_have_the_places_that_are_kept_for_them(index, day, tmp_path):
    catalogue = made(Catalogue, tmp_path / "catalogue")
    save_table(sold(), catalogue.uri)
    spec = ModelSpec("two_tower", {"dimension": 4, "negatives": 8}, HISTORY, FEATURES)
    places = PlacesForNew(1, fewer_events_than=1)
    decision = Decision("cold_start", "No model is in service yet.", (7,))
    lists, notes = {}, {}
    for name, kept_places in (("with", places), ("without", None)):
        settings = dataclasses.replace(
            SETTINGS, model=spec, max_k=9, k=2, index=index, hide_unlisted=False, half_life_spans=7.0,
            places_for_new=kept_places,
        )  # fmt: skip
        assert type(settings).from_json(settings.to_json()) == settings
        model = train(tmp_path / name, day, decision, settings=settings, catalogue=catalogue)
        lists[name] = recommended(model)
        folder = Path(model.uri) / SERVING_FOLDER
        assert not validate(folder, Reference.load(Path(model.uri) / REFERENCE_FILE), 10_000.0).refusal
        notes[name] = model.get_string_custom_property("places")
        loaded = tf.saved_model.load(str(folder)).signatures
        first = loaded["recommend"](
            user_id=tf.constant([b"u1"]), history=tf.constant([[b"stranger"]]), exclude=tf.constant([[b""]]),
            candidates=tf.constant([[b""]]), k=tf.constant([2]),
        )["item_ids"].numpy()[0].tolist()  # fmt: skip
        assert first == lists[name][:2]
        # The gate measures the list as it is served: a stranger to whom the new item is the right one.
        recall = loaded["evaluate_rows"](
            key=tf.constant([0], tf.int64), history=tf.constant([[1]], tf.int64),
            item=tf.constant([FIRST + 5], tf.int64), weight=tf.constant([1.0]),
        )["recall"].numpy().tolist()  # fmt: skip
        assert recall == [float(ITEMS[5] in first)]
    assert ITEMS[5] not in lists["without"][:2], "or nothing would be shown"
    assert lists["with"][1] == ITEMS[5]
    assert lists["with"] == [lists["without"][0], ITEMS[5], *(i for i in lists["without"][1:] if i != ITEMS[5])]
    assert "Places for new items: 1 of 2 for 1 items; recall " in notes["with"]
    assert notes["with"].endswith(" without, on 2 events.")
    assert not notes["without"]
