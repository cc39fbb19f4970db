"""The protocol of a stability part, and the loss that all of them add up to."""

from __future__ import annotations

import abc
from collections.abc import Collection, Sequence
from typing import ClassVar

import tensorflow_recommenders as tfrs

from trainer.keras2 import tf
from trainer.models.base import Recommender

Batches = dict[str, dict[str, tf.Tensor]]
NEW = "new"  # the batch of the span that is learned
REPLAYED = "replayed"  # a batch from the memory


class PolicyError(ValueError):
    """A part of the update policy can't be used with the model; the message says which and why."""


class LossTerm(abc.ABC):
    """One way to keep what older spans taught.

    A training step sees named batches: `new`, from the span that is learned, and what the parts have mixed in. Parts of
    the same types share one traced loss, so what differs from span to span must be mixed in too.
    """

    compilable: ClassVar[bool] = False
    """Whether its shapes do not depend on values, so that XLA can compile it with the model's own loss."""

    examples_per_step: int = 0
    """How many positions a step costs in addition to the new ones."""

    def mix(self, data: tf.data.Dataset) -> tf.data.Dataset:
        """Adds a named batch of its own to each element of `data`, which are `Batches`."""
        return data

    @abc.abstractmethod
    def loss(self, model: Recommender, batches: Batches) -> tf.Tensor:
        """What the part adds to the loss of the new batch, a float32 scalar."""


class Learner(tfrs.Model):
    """Trains a recommender on its own loss and on those of the parts; the variables in `frozen` stay as they are."""

    def __init__(
        self, recommender: Recommender, loss_terms: Sequence[LossTerm], frozen: Collection[tf.Variable] = ()
    ) -> None:
        super().__init__()
        self.recommender = recommender
        # Behind a function, where Keras does not take a term's arrays for weights.
        self._loss_terms = lambda: loss_terms
        self._frozen = frozenset(id(variable) for variable in frozen)

    @property
    def trainable_variables(self) -> list[tf.Variable]:
        """Those that get a gradient: the others cost no backward pass, and count in no norm of the gradients."""
        return [
            trainable_variable
            for trainable_variable in super().trainable_variables
            if id(trainable_variable) not in self._frozen
        ]

    @tf.autograph.experimental.do_not_convert
    def train_step(self, batches: Batches) -> dict[str, tf.Tensor]:
        return super().train_step(batches)

    def compute_loss(self, batches: Batches, training: bool = False) -> tf.Tensor:
        loss = tf.cast(self.recommender.compute_loss(batches[NEW], training=training), tf.float32)
        for loss_term in self._loss_terms():
            loss += loss_term.loss(self.recommender, batches)
        return loss
