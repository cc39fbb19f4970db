"""Titles through the whole daily graph: tuned on, encoded once, learned from, and another encoder begins anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.tiny_bert import write_tiny_bert
from pipeline.config import Config, load_config
from pipeline.ledger.artifacts import read_artifacts
from pipeline.ledger.runs import read_ledger
from pipeline.metadata_store.connection import open_store
from pipeline.node_order import NODES
from pipeline.operations.accounting import check_accounted
from pipeline.operations.garbage_collection import carry_out, make_cleanup
from pipeline.orchestration.daily_run import summary
from pipeline.orchestration.node_run import run_nodes
from pipeline.orchestration.span_run import SpanRun
from pipeline.spans import Naming
from tests.pipeline.test_catalogue_loop import NEW, list_items, served
from trainer.encoders.tuning import TuningState
from trainer.train_state import ModelState

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.filterwarnings("default")]

_SECTIONS = """
catalogue: {path: shop/listed}
encoders: {tiny: {path: tiny, max_tokens: 16, tuning: {learning_rate: 0.05}}}
features: {item: [{name: title, kind: text}, {name: category, kind: category}]}
"""


def with_texts(config: Config) -> Config:
    write_tiny_bert(config.root.parent / "tiny", num_hidden_layers=1)
    path = config.root.parent / "warmspan.yaml"
    path.write_text(path.read_text() + _SECTIONS)
    return load_config(path)


def encodings(config: Config) -> list[dict]:
    store = open_store(config)
    assert store is not None
    records = read_artifacts(config, store)
    check_accounted(config, store, records)
    return [dict(record.properties) for record in records.of("ItemEncoder.title/encodings")]


def tuned(config: Config) -> list[dict]:
    """By day, what was tuned; also that what it goes on from lies in its folder."""
    store = open_store(config)
    assert store is not None
    records = read_artifacts(config, store).of("EncoderTuner.title/tuned")
    return [{**of.properties, "state": TuningState.load(of.folder / "tuning")} for of in records]


def weights(config: Config) -> set[str]:
    models = config.artifacts_path / "IncrementalTrainer" / "model"
    newest = max(models.iterdir(), key=lambda path: int(path.name))
    return set(ModelState.load(newest / "state").weights)


def test_a_title_is_encoded_once_and_learned_from(make_shop):
    config = with_texts(make_shop(3))
    listed = list_items(config, "2024-05-01")
    list(run_nodes(config, NODES, "2024-05-01"))  # as under a scheduler, whose tasks know nothing of encoders
    about, named = served(config)
    assert set(listed) <= named
    assert {of["name"]: of["kind"] for of in about["features"]["item"]} == {"title": "text", "category": "category"}
    (first,) = encodings(config)
    assert (first["items"], first["missing"], first["new"]) == (len(listed), 0, len(listed))
    assert 0 < first["encoded"] <= len(listed)
    (of_first,) = tuned(config)
    assert (of_first["learned_spans"], of_first["state"].iterations > 0) == (1, True)
    assert first.get("revision", "") == of_first["revision"][:12]
    assert f"item_features/of/{first['column']}/projection" in weights(config)

    file = Path(config.data.path).parent / "items.csv"
    text = file.read_text()
    file.write_text(text.replace(text.splitlines()[1], text.splitlines()[1].replace(",", ",Blue hat and ", 1)))
    list_items(config, "2024-05-02")
    SpanRun(config, Naming(True).parse("2024-05-02"), 1).run()
    _, second = encodings(config)
    assert (second["encoded"], second["new"], second["changed"]) == (1, 0, 1)
    assert second["reused"] == second["texts"] - 1
    assert second["column"] == first["column"]
    of_second = tuned(config)[-1]
    went_on = bool(read_ledger(config)[-1].base_version)
    assert len(of_second["state"].learned) == 1 + went_on
    assert (of_second["revision"], of_second["published"]) == (of_first["revision"], 0)
    assert f"text {read_ledger(config)[-1].tunings[0]}" in summary(read_ledger(config)[-1], Naming(True))
    assert [(run.action, bool(run.base_version)) for run in read_ledger(config)] == [
        ("cold_start", False),
        ("fine_tune", True),
    ]
    assert NEW in served(config)[1]

    write_tiny_bert(config.root.parent / "tiny", seed=2, num_hidden_layers=1)
    list(run_nodes(config, NODES, "2024-05-03"))
    *_, third = encodings(config)
    assert (third["encoded"], third["reused"]) == (second["texts"], 0)
    assert third["replaced_encoder"] == second["encoder"]
    of_third = tuned(config)[-1]
    assert (of_third["learned_spans"], of_third["revision"], of_third["encoder"]) == (1, "", third["encoder"])
    last = read_ledger(config)[-1]
    assert last.action == "fine_tune"
    assert [str(of) for of in last.encodings] == [f"title: {third['encoded']} encoded; by another encoder than before"]
    assert {path.split("/")[2] for path in weights(config) if path.startswith("item_features/of/")} == {
        "category",
        third["column"],
    }
    carry_out(config, make_cleanup(config))
    assert encodings(config)[-1] == third
    assert tuned(config)[-1]["encoder"] == third["encoder"]
