"""What an encoder's folder says of the encoder: read, checked and digested, without its weights being loaded."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

CONFIG, TOKENIZER, WEIGHTS = "config.json", "tokenizer.json", "model.safetensors"
MEAN, CLS = "mean", "cls"
# By Hugging Face's names; the tanh form is an approximation of the other.
ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"}
# Goes into every digest: to be raised when the same folder gives other vectors than before.
_REVISION = 1
_MODULES = ("Transformer", "Pooling", "Normalize")


class EncoderError(ValueError):
    """A folder is no encoder that can be run here; the message says what, the rule, what was received, what to do."""


@dataclasses.dataclass(frozen=True)
class Architecture:
    """The shape of a BERT and how its token vectors become the vector of a text.

    Attributes:
      width: Numbers in a vector.
      inner: Numbers between the two dense layers of a block.
      layers: Blocks.
      heads: Attention heads; `width` is a multiple.
      vocabulary: Rows of the token table.
      positions: The longest text, in tokens.
      token_types: Rows of the table of token types, of which a text alone takes the first.
      epsilon: Of the layer normalisations.
      activation: `gelu`, `gelu_tanh` or `relu`.
      pad_id: The token that fills a batch.
      pooling: `mean` of all tokens, or the first one (`cls`).
      unit_length: Whether vectors are scaled to length 1.
    """

    width: int
    inner: int
    layers: int
    heads: int
    vocabulary: int
    positions: int
    token_types: int
    epsilon: float
    activation: str
    pad_id: int
    pooling: str
    unit_length: bool


def read_architecture(folder: str | Path) -> Architecture:
    """Reads the encoder's description and checks that it can be run here.

    Pooling and normalisation are those of sentence-transformers' `modules.json`, if it is there; else the mean of all
    tokens, or what `1_Pooling/config.json` says, at length 1.

    Raises:
      EncoderError: a file is missing or unreadable, or the encoder is not a BERT's.
    """
    folder = Path(folder)
    _check_files(folder)
    config = _read_json(folder / CONFIG, dict)
    _check_kind(config, folder)
    numbers = {
        field: _count(config, name, folder)
        for field, name in (
            ("width", "hidden_size"), ("inner", "intermediate_size"), ("layers", "num_hidden_layers"),
            ("heads", "num_attention_heads"), ("vocabulary", "vocab_size"), ("positions", "max_position_embeddings"),
            ("token_types", "type_vocab_size"),
        )
    }  # fmt: skip
    if numbers["width"] % numbers["heads"]:
        raise EncoderError(
            f"`hidden_size` must be a multiple of `num_attention_heads`. Received: {numbers['width']} and "
            f"{numbers['heads']} in {folder / CONFIG}. Save the encoder again from where it was trained."
        )
    pooling, unit_length = _pooling(folder)
    return Architecture(
        **numbers,
        epsilon=float(config.get("layer_norm_eps", 1e-12)),
        activation=ACTIVATIONS[config.get("hidden_act", "gelu")],
        pad_id=int(config.get("pad_token_id") or 0),
        pooling=pooling,
        unit_length=unit_length,
    )


def encoder_digest(folder: str | Path, max_tokens: int, prefix: str) -> str:
    """All that a text's vector depends on besides the text, as 64 hexadecimal digits; nothing of where the folder lies.

    Args:
      folder: The encoder's folder.
      max_tokens: The longest text; the rest of it is cut off.
      prefix: What is put before every text.

    Raises:
      EncoderError: as `read_architecture`, or `max_tokens` is more than the encoder has positions for.
    """
    folder = Path(folder)
    architecture = read_architecture(folder)
    if not 3 <= max_tokens <= architecture.positions:
        raise EncoderError(
            f"`max_tokens` must be from 3, a token and the two around it, to the encoder's {architecture.positions}. "
            f"Received: {max_tokens}. Set it to what the longest text needs."
        )
    described = {**dataclasses.asdict(architecture), "max_tokens": max_tokens, "prefix": prefix, "revision": _REVISION}
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for name in (TOKENIZER, WEIGHTS):
        digest.update(_file_digest(folder / name))
    return digest.hexdigest()


def _file_digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.digest()


def _check_files(folder: Path) -> None:
    missing = [name for name in (CONFIG, TOKENIZER, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        there = sorted(path.name for path in folder.iterdir())[:8] if folder.is_dir() else None
        received = f"in {folder} {', '.join(there) or 'nothing'}" if there is not None else f"no folder {folder}"
        raise EncoderError(
            f"An encoder must be a folder in Hugging Face's layout, with {CONFIG}, {TOKENIZER} and {WEIGHTS}. "
            f"Received: {received}; without {', '.join(missing)}. Give the folder that `save_pretrained` wrote, with a "
            "fast tokenizer and safe serialization."
        )


def _read_json(path: Path, kind: type) -> Any:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise EncoderError(
            f"{path.name} must be JSON. Received: {path}, {error}. Copy the encoder's folder again."
        ) from None
    if not isinstance(content, kind):
        raise EncoderError(
            f"{path.name} must be a JSON {'object' if kind is dict else 'list'}. Received: {path}, a "
            f"{type(content).__name__}. Copy the encoder's folder again."
        )
    return content


def _check_kind(config: dict[str, Any], folder: Path) -> None:
    for name, allowed, default in (
        ("model_type", ("bert",), None),
        ("hidden_act", tuple(ACTIVATIONS), "gelu"),
        ("position_embedding_type", ("absolute",), "absolute"),
        ("is_decoder", (False,), False),
    ):
        if (value := config.get(name, default)) not in allowed:
            raise EncoderError(
                f"An encoder must be of BERT's architecture: `{name}` {' or '.join(map(json.dumps, allowed))}. "
                f"Received: {json.dumps(value)} in {folder / CONFIG}. Choose one like MiniLM, BERT, or the English E5 "
                "and BGE."
            )


def _count(config: dict[str, Any], name: str, folder: Path) -> int:
    value = config.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise EncoderError(
            f"`{name}` must be a whole number from 1. Received: {json.dumps(value)} in {folder / CONFIG}. "
            "Copy the encoder's folder again."
        )
    return value


def _pooling(folder: Path) -> tuple[str, bool]:
    """How token vectors become one, and whether it is scaled to length 1."""
    file, unit_length = folder / "1_Pooling" / CONFIG, True
    if (folder / "modules.json").is_file():
        modules = {}
        for module in _read_json(folder / "modules.json", list):
            modules[str(module.get("type")).rpartition(".")[2]] = str(module.get("path"))
        if unknown := [kind for kind in modules if kind not in _MODULES]:
            raise EncoderError(
                f"`modules.json` must list {', '.join(_MODULES)} only. Received: {', '.join(unknown)} in {folder}. "
                "Choose an encoder without such a layer after its pooling."
            )
        unit_length = "Normalize" in modules
        if "Pooling" in modules:
            file = folder / modules["Pooling"] / CONFIG
    if not file.is_file():
        return MEAN, unit_length
    config = _read_json(file, dict)
    asked = config.get("pooling_mode")  # newer folders name it, older ones have a flag a kind
    modes = [asked] if isinstance(asked, str) else list(asked or ())
    modes += [name for name, value in config.items() if name.startswith("pooling_mode_") and value is True]
    kinds = {"pooling_mode_mean_tokens": MEAN, "pooling_mode_cls_token": CLS, MEAN: MEAN, CLS: CLS}
    if len(modes) != 1 or modes[0] not in kinds:
        raise EncoderError(
            f"Pooling must be by the mean of all tokens or by the first, `cls`. Received: {', '.join(modes) or 'none'} "
            f"in {file}. Choose an encoder with one of these."
        )
    return kinds[modes[0]], unit_length
