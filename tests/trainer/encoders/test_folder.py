"""What can't be run here is refused in a sentence, and a digest changes with all that changes vectors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from safetensors.numpy import load_file, save_file

from benchmarks.tiny_bert import write_tiny_bert
from trainer.encoders.folder import EncoderError, encoder_digest, read_architecture
from trainer.encoders.text_encoder import TextEncoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_bert(tmp_path / "encoder", pooling="mean")


def change(file: Path, **values) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def change_arrays(folder: Path, **arrays) -> None:
    kept = {**load_file(folder / "model.safetensors"), **{name.replace("__", "."): of for name, of in arrays.items()}}
    save_file({name: array for name, array in kept.items() if array is not None}, folder / "model.safetensors")


def no_frame(folder: Path) -> None:
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    changed = json.loads(tokenizer.to_str())
    changed["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(changed))


DENSE = [{"path": "", "type": "sentence_transformers.models.Transformer"}, {"path": "2", "type": "x.models.Dense"}]
REFUSED = {
    "no weights": (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
                   ["config.json", "pytorch_model.bin", "without model.safetensors", "save_pretrained"]),
    "no folder": (shutil.rmtree, ["no folder", "without config.json, tokenizer.json, model.safetensors"]),
    "no json": (lambda folder: (folder / "config.json").write_text("{"), ["config.json must be JSON"]),
    "a list": (lambda folder: (folder / "config.json").write_text("[]"), ["must be a JSON object", "a list"]),
    "a roberta": (lambda folder: change(folder / "config.json", model_type="xlm-roberta"),
                  ['`model_type` "bert"', 'Received: "xlm-roberta"', "MiniLM"]),
    "relative": (lambda folder: change(folder / "config.json", position_embedding_type="relative_key"),
                 ['`position_embedding_type` "absolute"', '"relative_key"']),
    "an activation": (lambda folder: change(folder / "config.json", hidden_act="swish"), ['"swish"', '"gelu"']),
    "no width": (lambda folder: change(folder / "config.json", hidden_size=None), ["`hidden_size`", "Received: null"]),
    "heads": (lambda folder: change(folder / "config.json", num_attention_heads=3), ["multiple", "16 and 3"]),
    "maximum": (lambda folder: change(folder / "1_Pooling" / "config.json", pooling_mode_mean_tokens=False,
                                      pooling_mode_max_tokens=True), ["by the mean", "pooling_mode_max_tokens"]),
    "two poolings": (lambda folder: change(folder / "1_Pooling" / "config.json", pooling_mode_cls_token=True),
                     ["pooling_mode_cls_token, pooling_mode_mean_tokens"]),
    "a dense layer": (lambda folder: (folder / "modules.json").write_text(json.dumps(DENSE)),
                      ["Transformer, Pooling, Normalize only", "Received: Dense"]),
    "too many tokens": (lambda folder: change(folder / "config.json", max_position_embeddings=7),
                        ["`max_tokens`", "encoder's 7", "Received: 8"]),
}  # fmt: skip
REFUSED_AT_LOADING = {
    "half a file": (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 20), ["a safetensors file"]),
    "an array less": (lambda folder: change_arrays(folder, encoder__layer__1__output__dense__bias=None),
                      ["without encoder.layer.1.output.dense.bias", "belong together"]),
    "a block less": (lambda folder: change(folder / "config.json", num_hidden_layers=3), ["and 13 more"]),
    "a shape": (lambda folder: change(folder / "config.json", intermediate_size=8),
                ["`encoder.layer.0.intermediate.dense.weight`", "[8, 16]", "Received: [32, 16]"]),
    "integers": (lambda folder: change_arrays(folder, embeddings__LayerNorm__bias=np.zeros(16, np.int8)),
                 ["F32, F16, BF16", "Received: I8 for `embeddings.LayerNorm.bias`"]),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").write_text("{}"), ["must be a tokenizer"]),
    "another's tokenizer": (lambda folder: change(folder / "config.json", vocab_size=60), ["at most", "60"]),
    "no frame": (no_frame, ["[CLS] and [SEP]"]),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_run_is_refused_before_it_is_loaded(folder, name):
    make, words = REFUSED[name]
    make(folder)
    with pytest.raises(EncoderError) as refusal:
        encoder_digest(folder, 8, "")
    assert "Received: " in str(refusal.value)
    assert [word for word in words if word not in str(refusal.value)] == []


@pytest.mark.parametrize("name", REFUSED_AT_LOADING)
def test_what_does_not_fit_is_refused_when_it_is_loaded(folder, name):
    make, words = REFUSED_AT_LOADING[name]
    make(folder)
    with pytest.raises(EncoderError) as refusal:
        TextEncoder(folder, 8, "")
    assert "Received: " in str(refusal.value)
    assert [word for word in words if word not in str(refusal.value)] == []


def test_newer_folders_name_their_pooling(folder):
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls", "embedding_dimension": 16}')
    assert read_architecture(folder).pooling == "cls"


CHANGES = {
    "weights": lambda folder: change_arrays(folder, embeddings__LayerNorm__bias=np.zeros(16, np.float32)),
    "tokenizer": lambda folder: (folder / "tokenizer.json").write_text(
        (folder / "tokenizer.json").read_text().replace('"wool"', '"wood"')
    ),
    "pooling": lambda folder: change(folder / "1_Pooling" / "config.json", pooling_mode_mean_tokens=False,
                                     pooling_mode_cls_token=True),
    "activation": lambda folder: change(folder / "config.json", hidden_act="relu"),
    "length": lambda folder: (folder / "modules.json").write_text('[{"path": "", "type": "m.Transformer"}]'),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_digest_changes_with_what_changes_vectors(folder, name):
    before = encoder_digest(folder, 8, "")
    CHANGES[name](folder)
    assert encoder_digest(folder, 8, "") != before


def test_a_digest_depends_on_length_and_prefix_but_not_on_place_or_on_what_is_only_said(folder, tmp_path):
    before = encoder_digest(folder, 8, "")
    assert len({before, encoder_digest(folder, 9, ""), encoder_digest(folder, 8, "query: ")}) == 3
    moved = shutil.copytree(folder, tmp_path / "moved")
    change(moved / "config.json", _name_or_path="elsewhere", transformers_version="5.0", torch_dtype="float32")
    assert encoder_digest(moved, 8, "") == before
