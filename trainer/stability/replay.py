"""Experience replay: a few of the old sequences are learned again with every new batch."""

from __future__ import annotations

from trainer.keras2 import tf
from trainer.models.base import Recommender
from trainer.stability.base import REPLAYED, Batches, LossTerm


class Replay(LossTerm):
    """Adds `weight` times the loss of a batch from the memory to that of each new batch.

    "ER" of Chaudhry et al. ("On tiny episodic memories in continual learning", 2019, algorithm 1), there with a weight
    of 1 and as many old examples as new ones. The two batches do not share their in-batch negatives.

    Args:
      data: batches of positions of the memory.
      examples_per_step: positions in one of them.
      weight: of their loss.
    """

    compilable = True

    def __init__(self, data: tf.data.Dataset, examples_per_step: int, weight: float) -> None:
        self.examples_per_step = examples_per_step
        self._data, self._weight = data, weight

    def mix(self, data: tf.data.Dataset) -> tf.data.Dataset:
        pairs = tf.data.Dataset.zip((data, self._data.repeat()))
        return pairs.map(lambda batches, replayed: {**batches, REPLAYED: replayed})

    def loss(self, model: Recommender, batches: Batches) -> tf.Tensor:
        if not self._weight:  # replayed for another part alone: neither a forward nor a backward pass
            return tf.constant(0.0)
        return self._weight * model.compute_loss(batches[REPLAYED], training=True)
