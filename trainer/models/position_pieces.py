"""Positions a few at a time, where each of them needs the scores of a large catalogue at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trainer.keras2 import tf
from trainer.models import catalogue_blocks

CELLS = 1 << 26  # scores that are held at a time, a quarter of a GB


def in_pieces(
    function: Callable[..., dict[str, tf.Tensor]], columns: tuple[Any, ...], items: int
) -> dict[str, tf.Tensor]:
    """What `function` says of positions, given their columns; of a large catalogue by a few positions a call.

    Args:
      function: of `columns`, each position for itself; float32 [b] each, by name.
      columns: tensors [b, ...], or mappings of them.
      items: rows of the catalogue that is scored for each position.
    """
    if items <= catalogue_blocks.AT_ONCE:
        return function(*columns)
    size = tf.shape(tf.nest.flatten(columns)[0])[0]
    step = max(1, CELLS // items)

    def piece(start: tf.Tensor) -> dict[str, tf.Tensor]:
        return function(*tf.nest.map_structure(lambda column: column[start : start + step], columns))

    names = dict[str, None]()  # AutoGraph can read neither an annotation here nor an assignment below

    def further(start: tf.Tensor, made: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        values = piece(start)
        names.update(dict.fromkeys(sorted(values)))
        return start + step, made.write(made.size(), tf.stack([values[name] for name in names], axis=1))

    pieces = tf.TensorArray(tf.float32, 0, dynamic_size=True, infer_shape=False, element_shape=[None, None])
    # Of no position there is a piece too, so that there is something to join.
    _, pieces = tf.while_loop(
        lambda start, _: start < tf.maximum(size, 1), further, [tf.constant(0), pieces], parallel_iterations=1
    )
    table = pieces.concat()
    return {name: table[:, place] for place, name in enumerate(names)}
