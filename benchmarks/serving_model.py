"""A model to be served in benchmarks: any number of items, a vector each, and the dot product for a score."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import tensorflow as tf

from serving.bundle import write_bundle
from serving.bundle.protocols import Catalogue
from serving.bundle.signatures import Signatures

FIRST_ROW = 2


def item_table(items: int, width: int = 64, seed: int = 1) -> np.ndarray:
    """The vectors that the model has, float32 [FIRST_ROW + items, width]."""
    vectors = np.random.default_rng(seed).standard_normal((FIRST_ROW + items, width), np.float32)
    vectors[:FIRST_ROW] = 0
    return vectors / np.float32(math.sqrt(width))


class DotProduct:
    """Scores every item by the dot product of its vector with the mean of the history's."""

    history_length = 20
    dot_product = None  # there is no vector of a user that stands for all of it

    def __init__(self, items: int, width: int, seed: int) -> None:
        self.table = tf.Variable(item_table(items, width, seed))

    def score_all(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        table = self.table.read_value()
        return tf.matmul(_user(table, history), table, transpose_b=True)

    def score(self, key: tf.Tensor, history: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        table = self.table.read_value()
        return tf.einsum("bw,bcw->bc", _user(table, history), tf.gather(table, candidates))

    def evaluate_positions(
        self, key: tf.Tensor, history: tf.Tensor, item: tf.Tensor, weight: tf.Tensor, k: int, exclude_seen: bool
    ) -> dict[str, tf.Tensor]:
        return {"recall": weight * 0.0}


def _user(table: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
    # Rows of what was read: looked up in the variable itself, they make TensorFlow copy all of it on every request.
    known = tf.cast(history > 0, tf.float32)[:, :, None]
    total = tf.reduce_sum(tf.gather(table, history) * known, 1)
    return total / tf.maximum(tf.reduce_sum(known, 1), 1.0)


def write_model(folder: Path, items: int, *, width: int = 64, k: int = 20, seed: int = 1, title: str = "") -> Path:
    """Writes the bundle of `items` items as `folder`; `title` stands before each title, to tell versions apart."""
    catalogue = Catalogue(
        items=[item_id(number).encode() for number in range(items)],
        keys=[b"u1"],
        columns={"titles": [f"{title}Item {number}" for number in range(items)]},
        first_row=FIRST_ROW,
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    signatures = Signatures(DotProduct(items, width, seed), catalogue, k=k, max_k=k, exclude_seen=True)
    write_bundle(signatures, folder, {"model": "benchmark", "items": items})
    return folder


def item_id(number: int) -> str:
    return f"i{number:07d}"


def requests(items: int, count: int, *, longest: int = 20, seed: int = 2) -> list[dict]:
    """`count` bodies, each with one user and a history of up to `longest` items."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, longest + 1, count)
    return [
        {
            "instances": [
                {
                    "user_id": f"u{number}",
                    "history": [item_id(number_of) for number_of in rng.integers(0, items, length)],
                }
            ]
        }
        for number, length in enumerate(lengths)
    ]
