"""The training step that several replicas share."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from trainer.compiled_step import seeded_step
from trainer.keras2 import tf
from trainer.models.base import Recommender
from trainer.replicas import replicas, shared_step
from trainer.stability.base import Batches, Learner, LossTerm


class SharedLearner(Learner):
    """A `Learner` of which each replica has a part of the batch; its loss is that of the whole batch.

    Keras's optimizer adds up the gradients of all replicas before it clips them; of sparse ones that is to put them
    one behind the other, and `trainer.optimizers` sums the rows that several have.

    Args:
      recommender, loss_terms, frozen: see `Learner`.
      seed: what a step draws follows from it and from the optimizer's steps so far, so that all replicas draw the same
        negatives, and no order in which they run makes a difference.
    """

    def __init__(
        self, recommender: Recommender, loss_terms: Sequence[LossTerm], frozen: Collection[tf.Variable], seed: int
    ) -> None:
        super().__init__(recommender, loss_terms, frozen)
        self._draws_seed = seed

    def train_step(self, batches: Batches) -> dict[str, tf.Tensor]:
        seed = tf.stack([tf.constant(self._draws_seed, tf.int64), tf.cast(self.optimizer.iterations, tf.int64)])
        with shared_step(), seeded_step(seed), tf.GradientTape() as tape:
            loss = self.compute_loss(batches, training=True)
            penalties = sum((tf.reduce_sum(of) for of in self.losses), tf.constant(0.0))
            total = loss + penalties / replicas()
        gradients = tape.gradient(total, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}  # Keras adds up what the replicas return
