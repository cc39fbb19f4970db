"""The section `encoders`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pydantic
import pytest

from components.encoder_tuner import Settings as TunerSettings
from pipeline.config import ConfigError, load_config
from pipeline.config.encoders import Encoder, Encoders
from pipeline.graph import create_pipeline
from pipeline.parameters.graph_parameters import GraphParameters
from tests.pipeline.config.test_config import config_file
from trainer.encoders.tuning_settings import Tuning

SECTION = pydantic.TypeAdapter(Encoders)


def test_an_encoder_needs_its_path_alone():
    read = SECTION.validate_python(
        {"title": {"path": "models/minilm"}, "text_2": {"path": "e5", "prefix": "passage: "}}
    )
    assert read["title"] == Encoder(path=Path("models/minilm"), max_tokens=64, batch=64, keep_unused=30)
    assert read["text_2"].prefix == "passage: "


def declared(*encoders: str, **feature: str) -> dict[str, Any]:
    """Settings with these encoders and one text."""
    texts = {"item": [{"name": "title", "kind": "text", **feature}]}
    of = {name: {"path": f"models/{name}"} for name in encoders}
    return {"catalogue": {"path": "catalogue"}, "encoders": of, "features": texts}


@pytest.mark.parametrize("encoders", [{"minilm": {}}, {"minilm": {"encoder": "minilm"}}])
def test_a_text_has_the_encoder_that_it_names_or_the_only_one(encoders, tmp_path):
    ((name, feature),) = encoders.items()
    config = load_config(config_file(tmp_path, **declared(name, **feature)))
    assert config.encoders[name].path == tmp_path / "models" / "minilm"
    of_text = GraphParameters.of(config).encoders
    assert {text: (of.name, of.text, of.folder) for text, of in of_text.items()} == {
        "title": ("title", "title", str(tmp_path / "models" / "minilm"))
    }


@pytest.mark.parametrize(
    ("encoders", "feature", "words"),
    [
        ((), {}, "'title' with None, of these encoders: none"),
        (("one_model",), {"encoder": "other"}, "'title' with 'other', of these encoders: 'one_model'"),
        (("first", "second"), {}, "'title' with None, of these encoders: 'first', 'second'"),
    ],
)
def test_a_text_without_an_encoder_is_refused(encoders, feature, words, tmp_path):
    with pytest.raises(ConfigError, match=f"a text must have an encoder in `encoders`.*{words}"):
        load_config(config_file(tmp_path, **declared(*encoders, **feature)))


def test_an_encoder_that_no_text_uses_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="`encoders` has an effect with a feature of kind text for each only"):
        load_config(config_file(tmp_path, **declared("first", "second", encoder="first")))


def test_without_encoders_the_graph_has_no_node_of_them(tmp_path):
    plain = create_pipeline(load_config(config_file(tmp_path)), 1)
    nodes = {component.id for component in plain.components}
    assert "IncrementalTrainer" in nodes
    assert not any(node.startswith("ItemEncoder") for node in nodes)
    (tmp_path / "more").mkdir()
    config = load_config(config_file(tmp_path / "more", **declared("minilm")))
    ids = [component.id for component in create_pipeline(config, 1).components]
    assert set(ids) - nodes == {"CatalogueGen", "ItemEncoder.title"}


def tuned(tuning: dict[str, Any] | None) -> dict[str, Any]:
    settings = declared("minilm")
    settings["encoders"]["minilm"]["tuning"] = tuning
    return settings


def test_a_tuned_encoder_has_a_node_before_that_which_encodes(tmp_path):
    config = load_config(config_file(tmp_path, **tuned({"rank": 2, "every": "2w"})))
    given = GraphParameters.of(config)
    assert given.tuners["title"].tuning == Tuning(method="lora", rank=2, every=14)
    assert (given.tuners["title"].folder, given.tuners["title"].text) == (given.encoders["title"].folder, "title")
    nodes = {component.id: component for component in create_pipeline(config, 1).components}
    assert list(nodes).index("EncoderTuner.title") < list(nodes).index("ItemEncoder.title")
    assert set(nodes["ItemEncoder.title"].inputs) == {"catalogue", "yesterday_encodings", "tuned"}
    assert "EncoderTuner.title" not in nodes["IncrementalTrainer"].upstream_nodes


def test_an_encoder_that_is_not_tuned_has_the_graph_of_before(tmp_path):
    config = load_config(config_file(tmp_path, **tuned(None)))
    assert GraphParameters.of(config).tuners == {}
    nodes = {component.id: component for component in create_pipeline(config, 1).components}
    assert not any(node.startswith("EncoderTuner") for node in nodes)
    assert set(nodes["ItemEncoder.title"].inputs) == {"catalogue", "yesterday_encodings"}
    assert not any(name.startswith(("tuned_", "encodings_")) for name in nodes["Champion"].inputs)
    assert "tuning" not in nodes["ItemEncoder.title"].exec_properties["settings"]


EVERYTHING = {
    "method": "lora", "rank": 2, "alpha": 3.0, "learning_rate": 0.1, "every": 2, "epochs": 3, "positions": 9,
    "history": 1, "batch": 8, "temperature": 0.1,
}  # fmt: skip


def test_every_setting_of_the_tuning_reaches_it_and_survives_json(tmp_path):
    sent = GraphParameters.of(load_config(config_file(tmp_path, **tuned(EVERYTHING)))).tuners["title"]
    assert dataclasses.asdict(sent.tuning) == EVERYTHING
    same = [name for name, value in EVERYTHING.items() if value == getattr(Tuning(), name)]
    assert same == ["method"], "a setting that equals its default would not be seen to be lost"
    assert TunerSettings.from_json(sent.to_json()) == sent


@pytest.mark.parametrize(
    ("tuning", "words"),
    [
        ({"method": "adapters"}, "method"),
        ({"method": "full", "rank": 8}, "`rank` has an effect with `method: lora` only. Received: 8"),
        ({"batch": 1}, "batch"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"every": "36h"}, "whole spans, of 24 hours each"),
        ({"layers": 3}, "layers"),
    ],
)
def test_a_tuning_that_can_not_be_is_refused(tuning, words, tmp_path):
    with pytest.raises(ConfigError, match=words):
        load_config(config_file(tmp_path, **tuned(tuning)))


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"Title": {"path": "m"}}, "'Title'"),
        ({"title-2": {"path": "m"}}, "'title-2'"),
        ({"title": {}}, "path"),
        ({"title": {"path": "m", "max_tokens": 2}}, "max_tokens"),
        ({"title": {"path": "m", "batch": 0}}, "batch"),
        ({"title": {"path": "m", "keep_unused": -1}}, "keep_unused"),
        ({"title": {"path": "m", "pooling": "cls"}}, "pooling"),
    ],
)
def test_what_can_not_be_used_is_refused(section, words):
    with pytest.raises(pydantic.ValidationError, match=words):
        SECTION.validate_python(section)
