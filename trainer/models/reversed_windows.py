"""Windows of sequences read from their end, to be learned beside the windows themselves."""

from __future__ import annotations

from trainer.compiled_step import is_compiled
from trainer.keras2 import tf


def reversed_windows(
    history: tf.Tensor, item: tf.Tensor, weight: tf.Tensor, events: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Inputs, targets and weights of the same windows read from their end; a pair counts as it counted forwards.

    What is to be predicted are `events`, which `history` is but for augmentation.
    """
    reverse, padded = (_gathered, _appended) if _for_gpu() else (_by_reverse_sequence, _by_pad)
    inputs = tf.math.count_nonzero(history, axis=1)
    last = tf.gather(item, tf.maximum(inputs - 1, 0), batch_dims=1)
    longer = padded(history)
    at = tf.stack([tf.range(tf.shape(history, tf.int64)[0]), inputs], axis=1)
    backward = reverse(tf.tensor_scatter_nd_update(longer, at, last), inputs + 1)
    counts = reverse(item > 0, inputs)
    there = tf.sequence_mask(inputs, tf.shape(history)[1])
    target = tf.where(counts, reverse(events, inputs), 0)
    return tf.where(there, backward[:, :-1], 0), target, reverse(weight, inputs)


def _for_gpu() -> bool:
    """Whether to go without what has no GPU kernel for int64: `tf.reverse_sequence` and `tf.pad`.

    Not elsewhere: what a step draws depends on how many operations its graph has before it.
    """
    return is_compiled() or bool(tf.config.list_physical_devices("GPU"))


def _gathered(values: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    place = tf.range(tf.shape(values, tf.int64)[1])[None, :]
    count = lengths[:, None]
    return tf.gather(values, tf.where(place < count, count - 1 - place, place), batch_dims=1)


def _by_reverse_sequence(values: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    return tf.reverse_sequence(values, lengths, seq_axis=1)


def _appended(rows: tf.Tensor) -> tf.Tensor:
    return tf.concat([rows, tf.zeros_like(rows[:, :1])], axis=1)


def _by_pad(rows: tf.Tensor) -> tf.Tensor:
    return tf.pad(rows, [[0, 0], [0, 1]])
