"""The exact softmax over a large catalogue, a block of it at a time; not to be trained through."""

from __future__ import annotations

from trainer.keras2 import tf
from trainer.metrics import UNAVAILABLE
from trainer.models.catalogue_blocks import CELLS, Items, SparseScores, end_of_block


def softmax_losses(
    items: Items,
    query: tf.Tensor,
    added: SparseScores | None,
    target: tf.Tensor,
    first_row: int,
    size: int,
    cells: int = CELLS,
) -> tf.Tensor:
    """Cross-entropy of each position over all items that can be recommended, float32 [b].

    The sum of exponentials is carried from block to block below the highest score so far (Milakov and Gimelshein,
    "Online normalizer calculation for softmax", 2018, algorithm 3).

    Args:
      items: of the catalogue.
      query: float32 [b, d].
      added: to single scores; a cell that comes more than once gets the sum. None for nothing.
      target: int64 [b], rows of the table.
      first_row: rows below it can't be recommended.
      size: rows of the table.
      cells: scores that are held at a time.
    """
    batch = tf.shape(query, tf.int64)[0]
    own = tf.reduce_sum(query * items.vectors(target), axis=1)
    if added is not None:
        position, row = added.at[:, 0], added.at[:, 1]
        of_target = tf.where(row == tf.gather(target, position), added.value, 0.0)
        own += tf.math.unsorted_segment_sum(of_target, position, batch)
        order = tf.argsort(row)
        added = SparseScores(tf.gather(added.at, order), tf.gather(added.value, order))

    def next_block(first: tf.Tensor, highest: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        last = end_of_block(first, batch, size, cells)
        scores = tf.matmul(query, items.between(first, last), transpose_b=True)
        if added is not None:
            low, high = tf.unstack(tf.searchsorted(added.at[:, 1], tf.stack([first, last])))
            at = added.at[low:high] - tf.stack([tf.zeros_like(first), first])
            scores = tf.tensor_scatter_nd_add(scores, at, added.value[low:high])
        now = tf.maximum(highest, tf.reduce_max(scores, axis=1))
        here = tf.reduce_sum(tf.exp(scores - now[:, None]), axis=1)
        return last, now, total * tf.exp(highest - now) + here

    nothing = tf.fill([batch], UNAVAILABLE), tf.zeros([batch])
    _, highest, total = tf.while_loop(
        lambda first, *_: first < size, next_block, [tf.constant(first_row, tf.int64), *nothing], parallel_iterations=1
    )
    return highest + tf.math.log(total) - own
