"""A tiny BERT of random numbers in Hugging Face's layout: what tests and benchmarks encode with, without a download."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from safetensors.numpy import save_file
from tokenizers import models, normalizers, pre_tokenizers, processors

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
WORDS = ("red", "shoe", "wool", "hat", "blue", "coat")


def write_tiny_bert(folder: Path, seed: int = 1, pooling: str | None = None, **config: Any) -> Path:
    """Writes the folder and returns it.

    Args:
      folder: Where to; made.
      seed: Of the weights.
      pooling: `mean` or `cls` writes sentence-transformers' files too; None leaves them out.
      config: What to change of config.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer()
    settings: dict[str, Any] = {
        "model_type": "bert", "hidden_act": "gelu", "hidden_size": 16, "intermediate_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": tokenizer.get_vocab_size(),
        "max_position_embeddings": 24, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "pad_token_id": 0, **config,
    }  # fmt: skip
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps(settings))
    save_file(random_arrays(settings, seed), str(folder / "model.safetensors"))
    if pooling:
        kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
        modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds.items()]
        (folder / "modules.json").write_text(json.dumps(modules))
        (folder / "1_Pooling").mkdir(exist_ok=True)
        flags = {
            f"pooling_mode_{name}": name.startswith(pooling) for name in ("cls_token", "mean_tokens", "max_tokens")
        }
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(flags))
    return folder


def random_arrays(config: dict[str, Any], seed: int) -> dict[str, np.ndarray]:
    """The arrays of model.safetensors, by Hugging Face's names."""
    rng = np.random.default_rng(seed)
    width, inner = config["hidden_size"], config["intermediate_size"]
    shapes = {
        f"embeddings.{name}_embeddings.weight": (config[rows], width)
        for name, rows in (
            ("word", "vocab_size"), ("position", "max_position_embeddings"), ("token_type", "type_vocab_size"),
        )
    }  # fmt: skip
    shapes |= {f"embeddings.LayerNorm.{part}": (width,) for part in ("weight", "bias")}
    for number in range(config["num_hidden_layers"]):
        for name, rows, columns in (
            ("attention.self.query", width, width), ("attention.self.key", width, width),
            ("attention.self.value", width, width), ("attention.output.dense", width, width),
            ("intermediate.dense", inner, width), ("output.dense", width, inner),
        ):  # fmt: skip
            shapes[f"encoder.layer.{number}.{name}.weight"] = (rows, columns)
            shapes[f"encoder.layer.{number}.{name}.bias"] = (rows,)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"encoder.layer.{number}.{name}.{part}": (width,) for part in ("weight", "bias")}
    return {name: rng.normal(scale=0.5, size=shape).astype(np.float32) for name, shape in shapes.items()}


def _tokenizer() -> tokenizers.Tokenizer:
    """WordPiece over a few words and all letters and digits, lower-cased, as BERT's."""
    characters = string.ascii_lowercase + string.digits
    vocabulary = [*SPECIAL, *WORDS, *characters, *(f"##{character}" for character in characters)]
    tokenizer = tokenizers.Tokenizer(
        models.WordPiece({word: number for number, word in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", SPECIAL.index("[CLS]")), ("[SEP]", SPECIAL.index("[SEP]"))]
    )
    # As files from the net have it: padded to a length, which must not reach the encoder.
    tokenizer.enable_padding(length=20)
    return tokenizer
