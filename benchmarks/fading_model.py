"""A model whose quality is known, and falls as it is told."""

from __future__ import annotations

import numpy as np

from trainer.input_pipeline import Sequences
from trainer.keras2 import tf
from trainer.models.base import Recommender, TableSizes


class FadingModel(Recommender):
    """Recommends what came most often right after the last item; for more and more items it has forgotten that.

    The catalogue must stay as large as it was in the first span.

    Args:
      sizes: of the tables.
      history_length: events of a history.
      nightly: share of the items that each span after the steady ones makes it forget.
      steady_spans: how many spans it learns without forgetting anything.
    """

    def __init__(self, sizes: TableSizes, history_length: int, nightly: float = 0.0, steady_spans: int = 0) -> None:
        super().__init__(sizes, history_length)
        self.nightly, self.steady_spans = nightly, steady_spans
        self.counts = self.add_weight("counts", [sizes.items, sizes.items], initializer="zeros", trainable=False)
        self.spans = self.add_weight("spans", [], initializer="zeros", trainable=False)
        self.unused = self.add_weight("unused", [], initializer="ones")

    def observe(self, sequences: Sequences) -> None:
        owner = np.repeat(np.arange(len(sequences)), np.diff(sequences.splits))
        place = np.arange(len(sequences.items)) - sequences.splits[:-1][owner]
        at = np.flatnonzero((place >= sequences.first_new[owner]) & (place > 0))
        pairs = np.stack([sequences.items[at - 1], sequences.items[at]], axis=1)
        self.counts.assign(tf.tensor_scatter_nd_add(self.counts, pairs, tf.ones(len(pairs))))
        self.spans.assign_add(1.0)

    def score_all(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        del key
        last = history[:, -1]
        forgotten = self.nightly * tf.maximum(0.0, self.spans - self.steady_spans)
        # The golden ratio spreads any run of rows evenly over [0, 1).
        known = tf.math.floormod(tf.cast(last, tf.float32) * 0.618034, 1.0) >= forgotten
        scores = tf.gather(self.counts, last) * tf.cast(known, tf.float32)[:, None]
        # No two items may tie: what was counted less would otherwise stand before what was counted more.
        return scores + tf.linspace(0.0, 0.5, self.sizes.items) + 0.0 * self.unused

    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        del batch, training
        return tf.square(self.unused - 1.0)
