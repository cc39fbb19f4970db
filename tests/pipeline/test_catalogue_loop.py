"""A root that begins to use a catalogue goes on: what is listed is served before it has events, what is gone is not."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from pipeline.config import Config, load_config
from pipeline.ledger.artifacts import read_artifacts
from pipeline.ledger.runs import read_ledger
from pipeline.metadata_store.connection import open_store
from pipeline.node_order import NODES
from pipeline.orchestration.node_run import run_nodes
from serving.bundle import check_bundle
from trainer.keras2 import tf
from trainer.vocabulary import Vocabulary

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.filterwarnings("default")]

_SECTIONS = """
catalogue: {path: shop/listed}
features: {item: [{name: category, kind: category}]}
push: {places_for_new: {places: 1, younger_than: 1}}
"""
NEW = "i-new"


def list_items(config: Config, day: str, without: str = "") -> list[str]:
    """Delivers the shop's own items and a new one, `without` another; returns their ids."""
    with (Path(config.data.path).parent / "items.csv").open(newline="") as file:
        rows = [row for row in csv.reader(file) if row[0] != without]
    rows.insert(1, [NEW, "A thing that nobody has met", rows[1][2]])
    target = Path(config.data.path).parent / "listed" / day / "items.csv"
    target.parent.mkdir(parents=True)
    with target.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return [row[0] for row in rows[1:]]


def with_catalogue(config: Config) -> Config:
    path = config.root.parent / "warmspan.yaml"
    path.write_text(path.read_text() + _SECTIONS)
    return load_config(path)


def served(config: Config) -> tuple[dict, set[str]]:
    """What the newest version says of itself, and all that it recommends to a stranger."""
    folder = max(config.serving_path.iterdir(), key=lambda path: int(path.name))
    signature = tf.saved_model.load(str(folder)).signatures["rank"]
    vocabularies = config.artifacts_path / "SpanTransform" / "vocabulary"
    vocabulary = max(vocabularies.iterdir(), key=lambda path: int(path.name))
    items = Vocabulary.load(vocabulary, "items").ids.to_pylist()
    scores = signature(
        user_id=tf.constant([b"stranger"]), history=tf.constant([[b""]]), candidates=tf.constant([items])
    )["scores"].numpy()[0]
    named = {item.decode() for item, score in zip(items, scores.tolist(), strict=True) if score > -1e29}
    return dict(check_bundle(folder).about), named


def test_a_root_goes_on_with_a_catalogue(shop_after):
    plain = shop_after(1)
    assert not (plain.artifacts_path / "CatalogueGen").exists()

    listed = list_items(plain, "2024-05-02")
    config = with_catalogue(plain)
    list(run_nodes(config, NODES, "2024-05-02"))
    about, named = served(config)
    assert NEW in named
    assert set(listed) <= named
    assert about["features"]["item"][0]["name"] == "category"
    ledger = read_ledger(config)
    assert [(run.action, run.base_version) for run in ledger][1:] == [("fine_tune", ledger[0].pushed)]

    assert not ledger[1].surroundings.shelf, "the champion knew no catalogue yet"
    assert any(name.startswith("item_events:") for name in ledger[1].surroundings.slices)

    gone = sorted(named & set(listed) - {NEW})[0]
    list_items(config, "2024-05-03", without=gone)
    list(run_nodes(config, NODES, "2024-05-03"))
    about, after = served(config)
    assert about["parent"] == ledger[1].pushed
    assert gone not in after
    assert NEW in after
    assert "Places for new items: 1 of " in ledger[1].verdict
    shelf = read_ledger(config)[-1].surroundings.shelf
    assert shelf["size"] >= 1
    assert 0 < shelf["chance"] <= 1
    store = open_store(config)
    assert store is not None
    balance = [record.properties for record in read_artifacts(config, store).of("CatalogueGen/catalogue")]
    assert [(day["added"], day["absent"]) for day in balance] == [(len(listed), 0), (0, 1)]
    assert all(day["rows"] == day["kept"] + day["rejects"] + day["repeats"] for day in balance)
