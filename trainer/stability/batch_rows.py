"""Which rows of a table a batch uses: what a penalty on tables may cost."""

from __future__ import annotations

from trainer.keras2 import tf
from trainer.replicas import across, everyones

LOOKED_UP: dict[str, tuple[str, ...]] = {"items": ("item", "history"), "keys": ("key",)}


def used_rows(batch: dict[str, tf.Tensor], table: str, carried: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The rows that a batch of positions or of sequences uses, of the first `carried` rows of a table.

    Row 0, which pads, is left out. Replicas that share a step get the rows of the whole batch, the same ones each.

    Returns:
      int64 [r] rows, each once, and float32 [r], how often each occurs for a position of the batch.
    """
    looked_up = [tf.reshape(batch[name], [-1]) for name in LOOKED_UP[table] if name in batch]
    every = everyones(tf.concat(looked_up, axis=0))
    rows, _, count = tf.unique_with_counts(tf.boolean_mask(every, (every > 0) & (every < carried)))
    positions = across(tf.math.count_nonzero(batch["item"], dtype=tf.float32))
    return rows, tf.math.divide_no_nan(tf.cast(count, tf.float32), positions)
