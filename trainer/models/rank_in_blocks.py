"""Where one item stands among a large catalogue, a block of it at a time.

The scores of a catalogue for a batch of positions are as many as both multiplied: of a million items and a thousand
positions 4 GB. A metric of the first `k` places needs none of them kept, and of most positions only a few: once `k`
items are ahead of the target it has missed the list.
"""

from __future__ import annotations

from typing import NamedTuple

from trainer.keras2 import tf
from trainer.models.catalogue_blocks import CELLS, Items, SparseScores, end_of_block

# Rounding errors of a product's terms, added up: what differs by less may be one score, summed up in another order.
_SLACK = 16 * 2.0**-23


class _Cells(NamedTuple):
    """What is special about single scores, by row: int64 [n] rows and positions, each pair once.

    Attributes:
      added: float32 [n], to the score.
      out: bool [n], whether the item is out of the race.
    """

    row: tf.Tensor
    position: tf.Tensor
    added: tf.Tensor
    out: tf.Tensor


def rank_within(
    items: Items,
    query: tf.Tensor,
    added: SparseScores | None,
    seen: tf.Tensor | None,
    target: tf.Tensor,
    first_row: int,
    size: int,
    k: int,
    cells: int = CELLS,
) -> tf.Tensor:
    """How many items score at least as high as the target, without itself, as far as that is below `k`.

    As `trainer.metrics.rank_of` counts them: a tie counts against the target, as does what is not a number. A score is
    taken for a tie where it is lower by no more than the order of summing up can make it.

    Args:
      items: of the catalogue.
      query: float32 [b, d].
      added: to single scores; None for nothing.
      seen: int64 [b, h], rows that are out of the race, but for the target; 0 is ignored. None for none.
      target: int64 [b]. A row that the table lacks, or that is out of vocabulary, has the worst rank, `size`.
      first_row: rows below it can't be recommended.
      size: rows of the table.
      k: places of the list.
      cells: scores that are held at a time.

    Returns:
      int64 [b]; `k` or more for any rank that is not below `k`.
    """
    batch = tf.shape(query, tf.int64)[0]
    known = (target >= first_row) & (target < size)
    at = tf.where(known, target, tf.zeros_like(target))
    terms = query * items.vectors(at)
    own = tf.reduce_sum(terms, axis=1) - _SLACK * tf.reduce_sum(tf.abs(terms), axis=1)
    if added is not None:
        position = added.at[:, 0]
        of_target = tf.where(added.at[:, 1] == tf.gather(at, position), added.value, 0.0)
        own += tf.math.unsorted_segment_sum(of_target, position, batch)
    special = _special(added, seen, at, batch)

    def unfinished(first: tf.Tensor, ahead: tf.Tensor) -> tf.Tensor:
        return (first < size) & tf.reduce_any(ahead < k)

    def next_block(first: tf.Tensor, ahead: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        racing = tf.where(ahead < k)[:, 0]
        count = tf.size(racing, tf.int64)
        last = end_of_block(first, count, size, cells)
        vectors, bar = items.between(first, last), tf.gather(own, racing)
        scores = tf.matmul(tf.gather(query, racing), vectors, transpose_b=True)
        # Of most positions a block holds nothing that is ahead: of these its best score says all.
        no_number = tf.math.is_nan(tf.reduce_sum(vectors))
        some = tf.where(~(tf.reduce_max(scores, axis=1) < bar) | no_number)
        ahead_here = ~(tf.gather_nd(scores, some) < tf.gather_nd(bar, some)[:, None])
        higher = tf.scatter_nd(some, tf.reduce_sum(tf.cast(ahead_here, tf.int32), axis=1), [count])
        place = tf.scatter_nd(racing[:, None], tf.range(1, count + 1), [batch]) - 1  # -1: has finished
        low, high = tf.unstack(tf.searchsorted(special.row, tf.stack([first, last])))
        here = tf.where(tf.gather(place, special.position[low:high]) >= 0)[:, 0] + tf.cast(low, tf.int64)
        who = tf.gather(place, tf.gather(special.position, here))
        plain = tf.gather_nd(scores, tf.stack([who, tf.gather(special.row, here) - first], axis=1))
        bar = tf.gather(bar, who)
        truly = ~(plain + tf.gather(special.added, here) < bar) & ~tf.gather(special.out, here)
        change = tf.cast(truly, tf.int32) - tf.cast(~(plain < bar), tf.int32)
        higher += tf.math.unsorted_segment_sum(change, who, count)
        return last, tf.tensor_scatter_nd_add(ahead, racing[:, None], tf.cast(higher, tf.int64))

    start = tf.where(known, tf.zeros_like(target), tf.constant(k, tf.int64))
    _, ahead = tf.while_loop(unfinished, next_block, [tf.constant(first_row, tf.int64), start], parallel_iterations=1)
    return tf.where(known, ahead, tf.constant(size, tf.int64))


def _special(added: SparseScores | None, seen: tf.Tensor | None, target: tf.Tensor, batch: tf.Tensor) -> _Cells:
    """What is added, what was seen and the target itself, which does not race against itself, in the order of rows."""
    every = tf.range(batch)
    row, position = [target], [every]
    value, out = [tf.zeros([batch])], [tf.ones([batch], tf.int32)]
    if added is not None:
        row.append(added.at[:, 1])
        position.append(added.at[:, 0])
        value.append(added.value)
        out.append(tf.zeros_like(added.at[:, 0], tf.int32))
    if seen is not None:
        owner = tf.broadcast_to(every[:, None], tf.shape(seen, tf.int64))
        row.append(tf.reshape(seen, [-1]))
        position.append(tf.reshape(owner, [-1]))
        value.append(tf.zeros([tf.size(seen)]))
        out.append(tf.ones([tf.size(seen)], tf.int32))
    cell = tf.concat(row, axis=0) * batch + tf.concat(position, axis=0)
    order = tf.argsort(cell)
    cell = tf.gather(cell, order)
    each, number = tf.unique(cell)
    parts = tf.size(each)
    return _Cells(
        each // batch,
        each % batch,
        tf.math.unsorted_segment_sum(tf.gather(tf.concat(value, axis=0), order), number, parts),
        tf.math.unsorted_segment_max(tf.gather(tf.concat(out, axis=0), order), number, parts) > 0,
    )
