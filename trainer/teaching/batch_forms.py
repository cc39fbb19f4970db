"""The same positions in the form that another model asks for: single ones, or steps of sequences.

A teacher and its student see one batch. Where one of them learns positions and the other sequences the batch is put
into the teacher's form, position by position in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer.features.query_values import ROW
from trainer.keras2 import tf

Batch = dict[str, Any]


def as_positions(batch: Batch) -> Batch:
    """Each step that counts of a batch of sequences as a position of its own.

    Args:
      batch: `history` and `item` [b, l], 0 behind, `key` [b] with values [b, l, ...] (see `Windows.dataset`).

    Returns:
      `history` [p, l], 0 in front, `item` [p] and `key` [p] with values [p, ...].
    """
    history, steps = batch["history"], tf.where(batch["item"] > 0)
    length = tf.shape(history, tf.int64)[1]
    place = steps[:, 1:] + tf.range(1 - length, 1)
    at = tf.stack([tf.broadcast_to(steps[:, :1], tf.shape(place)), tf.maximum(place, 0)], axis=-1)
    return {
        "key": _each(batch["key"], lambda row: tf.gather(row, steps[:, 0]), lambda values: tf.gather_nd(values, steps)),
        "history": tf.where(place >= 0, tf.gather_nd(history, at), 0),
        "item": tf.gather_nd(batch["item"], steps),
    }


def as_sequences(batch: Batch) -> Batch:
    """Each position of a batch as a sequence with one step that counts, its last.

    Args:
      batch: `history` [b, h], 0 in front, `item` [b] above 0, `key` [b] with values [b, ...].

    Returns:
      `history` and `item` [b, h], 0 behind, `key` [b] with values [b, h, ...]. A position without any history is a step
      on a row 0.
    """
    history = batch["history"]
    length = tf.shape(history, tf.int64)[1]
    count = tf.math.count_nonzero(history, axis=1)[:, None]
    places = tf.range(length)[None, :]
    moved = tf.gather(history, tf.minimum(places + length - count, length - 1), batch_dims=1)
    last = tf.maximum(count - 1, 0)

    def spread(values: tf.Tensor) -> tf.Tensor:
        return tf.repeat(values[:, None], length, axis=1)

    return {
        "key": _each(batch["key"], lambda row: row, spread),
        "history": tf.where(places < count, moved, 0),
        "item": tf.where(places == last, batch["item"][:, None], 0),
    }


def _each(key: Any, of_row: Any, of_values: Any) -> Any:
    if not isinstance(key, Mapping):
        return of_row(key)
    return {name: of_row(of) if name == ROW else of_values(of) for name, of in key.items()}
