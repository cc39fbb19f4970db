"""The best of many scores, exactly, without sorting through all of them."""

from __future__ import annotations

import tensorflow as tf

from serving.bundle.protocols import UNAVAILABLE

_BLOCK = 32
# With fewer scores than this many for each one wanted, looking for the best blocks first saves nothing.
_WORTH = 128


def best(scores: tf.Tensor, size: int, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The `k` highest of float32 [b, size] scores: places int64 [b, k] and values, best first.

    A tie goes to the lower place. The k highest scores lie in the k blocks with the highest maxima: each other block
    has k blocks before it, and each of those holds a score that is higher than all of its own, or as high and at a
    lower place.
    """
    if size < k * _WORTH:
        top = tf.math.top_k(scores, k)
        return tf.cast(top.indices, tf.int64), top.values
    blocks = -(-size // _BLOCK)
    padded = tf.pad(scores, [[0, 0], [0, blocks * _BLOCK - size]], constant_values=UNAVAILABLE)
    blocked = tf.reshape(padded, [-1, blocks, _BLOCK])
    # In the order of their places again, so that ties are settled as without blocks.
    chosen = tf.sort(tf.math.top_k(tf.reduce_max(blocked, axis=2), k).indices, axis=1)
    top = tf.math.top_k(tf.reshape(tf.gather(blocked, chosen, batch_dims=1), [-1, k * _BLOCK]), k)
    places = tf.gather(chosen, top.indices // _BLOCK, batch_dims=1) * _BLOCK + top.indices % _BLOCK
    return tf.cast(places, tf.int64), top.values
