"""A root that begins to use features of key and context goes on; a day without the column is a day like others."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import Config, load_config
from pipeline.ledger.artifacts import read_artifacts
from pipeline.ledger.runs import read_ledger
from pipeline.metadata_store.connection import open_store
from pipeline.node_order import NODES
from pipeline.orchestration.node_run import run_nodes
from serving.bundle import check_bundle
from trainer.keras2 import tf
from trainer.stability.replay_memory import ReplayMemory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.filterwarnings("default")]

_SECTIONS = """
features:
  key: [{name: country, kind: category}]
  context: [{name: device, kind: category}, {name: hour, kind: number}]
"""


def with_columns(config: Config, day: str, *names: str) -> None:
    """Adds columns to a day's events: a telephone in the morning, a television in the evening."""
    (path,) = (Path(config.data.path) / day).iterdir()
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        hour = int(row["timestamp"]) // 3600 % 24
        cells = {"country": "no", "device": "tv" if hour > 12 else "phone", "hour": str(hour)}
        row.update({name: cells[name] for name in names})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def run(config: Config, day: str) -> dict:
    """Runs a day; returns what the newest version says of itself."""
    assert [result.node for result in run_nodes(config, NODES, day)] == list(NODES)
    return dict(check_bundle(newest(config)).about)


def newest(config: Config) -> Path:
    return max(config.serving_path.iterdir(), key=lambda path: int(path.name))


def scores(config: Config, *pairs: tuple[str, str]) -> np.ndarray:
    signature = tf.saved_model.load(str(newest(config))).signatures["embed_in_context"]
    asked = {"user_id": [b"stranger"], "history": [[b""]], "items": [[b""]], "features": [[*pairs, ("", "")]]}
    return signature(**{name: tf.constant(value) for name, value in asked.items()})["user_vectors"].numpy()[0]


def test_a_root_goes_on_with_features(shop_after):
    plain = shop_after(1)
    assert "features" not in check_bundle(newest(plain)).about

    path = plain.root.parent / "warmspan.yaml"
    settings = path.read_text().replace("update: {epochs: 1}", "update: {epochs: 2, stability: {replay: {budget: 50}}}")
    path.write_text(settings + _SECTIONS)
    config = load_config(path)
    with_columns(config, "2024-05-02", "country", "device", "hour")
    about = run(config, "2024-05-02")
    assert [of["name"] for of in about["features"]["key"]] == ["country"]
    assert [of["name"] for of in about["features"]["context"]] == ["device", "hour"]
    assert "recommend_in_context" in about["signatures"]
    ledger = read_ledger(config)
    assert [(of.action, of.base_version) for of in ledger][1:] == [("fine_tune", ledger[0].pushed)]
    assert not np.array_equal(scores(config, ("device", "tv")), scores(config, ("device", "phone")))
    assert np.array_equal(scores(config), scores(config, ("device", "")))

    with_columns(config, "2024-05-03", "country")
    about = run(config, "2024-05-03")
    assert about["parent"] == ledger[1].pushed
    store = open_store(config)
    assert store is not None
    records = read_artifacts(config, store).of("SpanExampleGen/examples")
    counts = json.loads(records[-1].properties["features"])
    assert counts["country"] == {"missing": 0, "unreadable": 0}
    assert counts["device"]["missing"] == records[-1].properties["events"] + records[-1].properties["duplicates"]
    assert "features" not in records[0].properties
    folder = max(config.artifacts_path.glob("IncrementalTrainer/memory/*"), key=by_number)
    memory = ReplayMemory.load(folder / "memory.npz")
    assert set(memory.sequences.query_features) == {"feature_country", "feature_device", "feature_hour"}


def by_number(path: Path) -> int:
    return int(path.name)
