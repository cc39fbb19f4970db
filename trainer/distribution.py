"""Where a training runs: in this process alone, on several devices of it, or on several workers, by `tf.distribute`.

All of an update that is not a training step is done by every worker alike, from the same files and seeds: the warm
start, what is watched, the memory, what is counted. So there is nothing to be sent but gradients, the rows that are
compared, and what the first worker watched: two machines may differ in the last bit of it, and must not disagree on
whether to go on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trainer.keras2 import keras, tf
from trainer.models.base import SAMPLING_RATE, Recommender
from trainer.resumption import Progress
from trainer.stability.base import NEW, REPLAYED, Batches, PolicyError
from trainer.training_batches import OF_FULL_SIZE

_OF_ALL = (SAMPLING_RATE, OF_FULL_SIZE)  # of a batch as a whole, not of its rows


def says_shares(model: type[Recommender]) -> bool:
    """Whether the class itself says that replicas can share its steps."""
    return bool(vars(model).get("shares_steps", False))


class OutOfStepError(RuntimeError):
    """A worker is about to learn something else than the first one; to begin again helps."""


class Distribution:
    """How an update's training steps are shared out.

    Args:
      strategy: of `tf.distribute`, synchronous; None for one replica and the code that is run without any of this.
      progress: what the training goes on from and what it leaves, if it is broken off; None for nothing, as without a
        strategy.
    """

    def __init__(self, strategy: tf.distribute.Strategy | None, progress: Progress | None = None) -> None:
        self._strategy, self.progress = strategy, progress
        self._agree: Callable[[tf.Tensor], tf.Tensor] | None = None

    @property
    def is_alone(self) -> bool:
        return self._strategy is None

    @property
    def replicas(self) -> int:
        return 1 if self._strategy is None else self._strategy.num_replicas_in_sync

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Variables that are made within are kept alike on all replicas."""
        return contextlib.nullcontext() if self._strategy is None else self._strategy.scope()

    def fit(
        self,
        learner: keras.Model,
        data: tf.data.Dataset,
        steps: int,
        epochs: int,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        begun: int = 0,
    ) -> None:
        """Keras's `fit` of `steps` an epoch, each on a batch of `data` of which every replica gets its rows.

        The first `begun` of the `epochs` are learned already: their batches are passed over.
        """
        strategy = self._strategy
        if strategy is None:
            learner.fit(data, epochs=epochs, callbacks=list(callbacks), verbose=0)
            return
        # Keras begins a tf.data.Dataset once before the first epoch, for nothing, and anew for each; one that is
        # distributed not. Both are to see the same epochs.
        iter(data)
        whole = data.repeat().skip(begun * steps)
        shared = strategy.distribute_datasets_from_function(lambda context: _shared_out(whole, context))
        learner.fit(
            shared, initial_epoch=begun, epochs=epochs, steps_per_epoch=steps, callbacks=list(callbacks), verbose=0
        )

    def agreed(self, value: float) -> float:
        """What the first replica has, in every process."""
        strategy = self._strategy
        if strategy is None:
            return value
        if self._agree is None:

            @tf.function(autograph=False)
            def agree(own: tf.Tensor) -> tf.Tensor:
                def first() -> tf.Tensor:
                    context = tf.distribute.get_replica_context()
                    number = tf.convert_to_tensor(context.replica_id_in_sync_group)
                    # Chosen, not multiplied: what is watched may be no number.
                    mine = tf.where(number == 0, own, tf.zeros_like(own))
                    return context.all_reduce(tf.distribute.ReduceOp.SUM, mine)

                return strategy.experimental_local_results(strategy.run(first))[0]

            self._agree = agree
        return float(self._agree(tf.constant(value, tf.float64)))

    def check_shares(self, model: type[Recommender]) -> None:
        """Whether the model can be trained here.

        Raises:
          PolicyError: steps are shared, and the class does not say that they can be.
        """
        if not self.is_alone and not says_shares(model):
            raise PolicyError(
                f"A training on several replicas needs a model that says `shares_steps`. Received: {model.__name__}. "
                "Set `training.strategy: none`, or see docs/workers.md."
            )

    def check_agreed(self, number: int, what: str) -> None:
        """Every process must have the same number, below 2^53.

        Raises:
          OutOfStepError: this one has another than the first.
        """
        if (first := self.agreed(float(number))) != number:
            raise OutOfStepError(
                f"All workers must go on with the same {what}. Received: {number} here, {first:.0f} with the first. "
                "They begin again; if they do not come to agree, see that all have the root as the chief has it."
            )


ALONE = Distribution(None)


def _shared_out(data: tf.data.Dataset, context: tf.distribute.InputContext) -> tf.data.Dataset:
    """Of each of the `Batches` in `data` one after the other what each replica of this process gets."""
    replicas = context.num_replicas_in_sync
    here = replicas // context.num_input_pipelines
    first = context.input_pipeline_id * here

    def parts(batches: Batches) -> tf.data.Dataset:
        every = [tf.data.Dataset.from_tensors(_part(batches, first + i, replicas)) for i in range(here)]
        whole = every[0]
        for further in every[1:]:
            whole = whole.concatenate(further)
        return whole

    if here == 1:
        return data.map(lambda batches: _part(batches, first, replicas)).prefetch(2)
    return data.flat_map(parts).prefetch(2 * here)


def _part(batches: Batches, number: int, replicas: int) -> Batches:
    """Every so many of the rows of a batch, from that of the replica's number on: as many as any other has, or one."""
    return {
        name: _rows(batch, number, replicas) if name in (NEW, REPLAYED) else batch for name, batch in batches.items()
    }


def _rows(batch: Mapping[str, Any], number: int, replicas: int) -> dict[str, Any]:
    of_rows = {name: value for name, value in batch.items() if name not in _OF_ALL}
    of_all = {name: value for name, value in batch.items() if name in _OF_ALL}
    return {**tf.nest.map_structure(lambda value: value[number::replicas], of_rows), **of_all}
