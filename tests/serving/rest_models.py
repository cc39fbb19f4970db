"""Small SavedModels whose every output is a plain function of the input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf


def save(path: Path, signatures: Mapping[str, tuple[Mapping[str, tf.TensorSpec], Callable[..., Any]]]) -> Path:
    """Writes a SavedModel; a signature is its input specs and a function of tensors by input name."""
    module = tf.Module()
    tf.saved_model.save(module, str(path), {name: _concrete(specs, body) for name, (specs, body) in signatures.items()})
    return path


def _concrete(specs: Mapping[str, tf.TensorSpec], body: Callable[..., Any]) -> Any:
    @tf.function(autograph=False)
    def call(**inputs: tf.Tensor) -> Any:
        return body(**inputs)

    return call.get_concrete_function(**{name: tf.TensorSpec(s.shape, s.dtype, name) for name, s in specs.items()})


def floats(*shape: int | None) -> tf.TensorSpec:
    return tf.TensorSpec(shape, tf.float32)


def strings(*shape: int | None) -> tf.TensorSpec:
    return tf.TensorSpec(shape, tf.string)


def half_plus(path: Path, constant: float) -> Path:
    """y = x / 2 + constant, over any shape."""
    return save(path, {"serving_default": ({"x": tf.TensorSpec(None)}, lambda x: {"y": x * 0.5 + constant})})


def recommender(path: Path, titles: bool = True, stamp: str = "a") -> Path:
    """Three items i1, i2, i3 with scores 3, 2, 1, less those of the history; padded with "" and -infinity."""
    items = tf.constant([[f"i{n}" for n in (1, 2, 3)]])
    scores = tf.constant([[3.0, 2.0, 1.0]])

    def recommend(user_id: tf.Tensor, history: tf.Tensor) -> dict[str, tf.Tensor]:
        seen = tf.reduce_any(history[:, :, None] == items[:, None, :], axis=1)
        kept, order = tf.math.top_k(tf.where(seen, -float("inf"), scores + tf.zeros_like(seen, tf.float32)), 3)
        ids = tf.where(tf.math.is_inf(kept), "", tf.gather(items[0], order))
        outputs = {"item_ids": ids, "scores": kept}
        if titles:
            named = tf.strings.join([f"Title {stamp} of ", ids, " for ", tf.repeat(user_id[:, None], 3, axis=1)])
            outputs["titles"] = tf.where(ids == "", "", named)
        return outputs

    def rank(user_id: tf.Tensor, history: tf.Tensor, candidates: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"scores": tf.strings.to_number(tf.strings.substr(candidates, 1, 1)) + 0.0 * _length(history, user_id)}

    pair = {"user_id": strings(None), "history": strings(None, None)}
    triple = {**pair, "candidates": strings(None, None)}
    return save(path, {"serving_default": (pair, recommend), "rank": (triple, rank)})


def _length(history: tf.Tensor, user_id: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.size(history) + tf.size(user_id), tf.float32)


def catalogue(path: Path) -> Path:
    """Signatures of many kinds: types, several inputs and outputs, odd batches, tf.Example, a failing operation."""

    def same(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.identity(x)}

    def positive(x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(x > 0), ["x must be positive"])]):
            return {"y": tf.identity(x)}

    def feature(inputs: tf.Tensor) -> tf.Tensor:
        return tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([1], tf.float32)})["x"]

    types = (tf.float64, tf.float16, tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint16, tf.uint32, tf.uint64)
    signatures: dict[str, Any] = {
        kind.name: ({"x": tf.TensorSpec(None, kind)}, same) for kind in (*types, tf.bool, tf.string, tf.float32)
    }
    three = {"user": strings(None), "price": floats(None), "dims": tf.TensorSpec([None, 2], tf.int32)}
    signatures |= {
        "three": (
            three,
            lambda user, price, dims: {
                "score": price * 2.0,
                "tag": tf.strings.join([user, "!"]),
                "dims_out": dims + 1,
            },
        ),
        "sum": ({"x": floats(None)}, lambda x: {"total": tf.reduce_sum(x)}),
        "uneven": ({"x": floats(None)}, lambda x: {"a": tf.identity(x), "b": tf.concat([x, x], 0)}),
        "none": ({"x": floats(None)}, lambda x: {"y": x[:0]}),
        "positive": ({"x": floats(None)}, positive),
        "to_half": ({"x": floats(None)}, lambda x: {"y": tf.cast(x, tf.float16)}),
        "picture": (
            {"image_bytes": strings(None)},
            lambda image_bytes: {"thumb_bytes": tf.identity(image_bytes), "caption": tf.identity(image_bytes)},
        ),
        "wide": ({"x": floats(None)}, lambda x: {"y": tf.zeros([tf.size(x), 2, 0])}),
        "regress": ({"inputs": strings(None)}, lambda inputs: {"outputs": feature(inputs) * 0.5}),
        "classify": (
            {"inputs": strings(None)},
            lambda inputs: {
                "classes": tf.tile([["low", "high"]], [tf.size(inputs), 1]),
                "scores": tf.concat([1.0 - feature(inputs), feature(inputs)], 1),
            },
        ),
        "scores": ({"inputs": strings(None)}, lambda inputs: {"scores": feature(inputs)}),
        "flat_scores": ({"inputs": strings(None)}, lambda inputs: {"scores": feature(inputs)[:, 0]}),
    }
    return save(path, signatures)
