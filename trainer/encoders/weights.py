"""From a safetensors file of Hugging Face's names to the variables of `BertEncoder`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from trainer.encoders.bert import BertEncoder
from trainer.encoders.extra import text_library
from trainer.encoders.folder import CONFIG, EncoderError
from trainer.keras2 import keras, tf

_MOST_NAMED = 3
_TYPES = ("F32", "F16", "BF16")  # numpy knows the last from TensorFlow


def load_weights(encoder: BertEncoder, file: Path) -> None:
    """Builds the encoder and fills it; parts that it has no use for, a pooler's or a language model's, are passed over.

    Raises:
      MissingExtraError: safetensors is not installed.
      EncoderError: the file is damaged, or an array is missing or of another shape or type.
    """
    encoder(tf.zeros([1, 1], tf.int32), tf.ones([1], tf.int32))
    safetensors = text_library("safetensors")
    try:
        with safetensors.safe_open(str(file), framework="numpy") as opened:
            _assign(encoder, opened, file)
    except safetensors.SafetensorError as error:
        raise EncoderError(
            f"{file.name} must be a safetensors file. Received: {file}, {error}. Copy the encoder's folder again."
        ) from None


def _assign(encoder: BertEncoder, opened: Any, file: Path) -> None:
    stored = {_today(name): name for name in opened.keys()}  # noqa: SIM118  it is no mapping
    variables = {name: variable for layer in encoder.checkpoint() for name, variable in named_arrays(*layer).items()}
    if missing := [name for name in variables if name not in stored]:
        more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
        raise EncoderError(
            f"{file.name} must hold every array of the BERT that {CONFIG} describes. Received: {file} without "
            f"{', '.join(missing[:_MOST_NAMED])}{more}. Give a folder whose files belong together."
        )
    for name, (variable, turned) in variables.items():
        kind = opened.get_slice(stored[name]).get_dtype()
        if kind not in _TYPES:
            raise EncoderError(
                f"An encoder's weights must be {', '.join(_TYPES)}. Received: {kind} for `{stored[name]}` in {file}. "
                "Save the encoder again in one of these, without quantization."
            )
        array = opened.get_tensor(stored[name]).astype(np.float32)
        shape = tuple(variable.shape)[::-1] if turned else tuple(variable.shape)
        if array.shape != shape:
            raise EncoderError(
                f"`{stored[name]}` must have the shape that {CONFIG} gives, {list(shape)}. Received: "
                f"{list(array.shape)} in {file}. Give a folder whose files belong together."
            )
        variable.assign(array.T if turned else array)


def _today(name: str) -> str:
    """Without the prefix of a model with a head, and scale and shift named as they are nowadays."""
    name = name.removeprefix("bert.").replace("LayerNorm.gamma", "LayerNorm.weight")
    return name.replace("LayerNorm.beta", "LayerNorm.bias")


def variables_of(encoder: BertEncoder) -> dict[str, tf.Variable]:
    """All variables of a built encoder, by their names in the file."""
    return {name: of for layer in encoder.checkpoint() for name, (of, _) in named_arrays(*layer).items()}


def named_arrays(name: str, layer: keras.layers.Layer) -> dict[str, tuple[tf.Variable, bool]]:
    """The variables of a layer by their names in the file, and whether they lie there with rows and columns changed."""
    if isinstance(layer, keras.layers.LayerNormalization):
        return {f"{name}.weight": (layer.gamma, False), f"{name}.bias": (layer.beta, False)}
    if isinstance(layer, keras.layers.Dense):
        return {f"{name}.weight": (layer.kernel, True), f"{name}.bias": (layer.bias, False)}
    return {f"{name}.weight": (layer.embeddings, False)}
