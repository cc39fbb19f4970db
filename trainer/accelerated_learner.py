"""A training step whose loss and gradients XLA compiles, or whose loss is scaled for float16."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

from trainer.compiled_step import compiled_step
from trainer.keras2 import keras, tf
from trainer.models.base import Recommender
from trainer.settings import Policy, Precision
from trainer.shared_learner import SharedLearner
from trainer.stability.base import NEW, REPLAYED, Batches, Learner, LossTerm
from trainer.training_batches import OF_FULL_SIZE

Gradient: TypeAlias = tf.Tensor | tf.IndexedSlices
OVERFLOWED = "overflowed"  # the log of a step: 1 where its float16 gradients overflowed and it was left out


class AcceleratedLearner(Learner):
    """A `Learner` for `update.jit_compile` and for `update.precision: mixed_float16`.

    Compiled are the model's loss on new and replayed batches and its gradients. Around that, as ordinary operations:

    * the parts that keep the old days and do not say that they are `compilable`: which rows they compare depends on
      the batch;
    * the optimizer's step, a few gathers and scatters of as many rows as the batch has different ones;
    * batches of positions of another size than an epoch's others (see `OF_FULL_SIZE`): each size would be compiled
      anew, for one step an epoch.

    Args:
      recommender, loss_terms, frozen: see `Learner`.
      seed: what a compiled step draws follows from it and from the optimizer's steps so far.
      jit_compile: whether to compile.
    """

    def __init__(
        self,
        recommender: Recommender,
        loss_terms: Sequence[LossTerm],
        frozen: Collection[tf.Variable],
        seed: int,
        jit_compile: bool,
    ) -> None:
        super().__init__(recommender, loss_terms, frozen)
        within = [term for term in loss_terms if term.compilable]
        around = [term for term in loss_terms if not term.compilable]
        # Behind functions, where Keras does not take a term's arrays for weights.
        self._within = lambda: within
        self._around = lambda: around
        self._draws_seed = seed
        self._by_xla = tf.function(self._own_gradients, jit_compile=True, autograph=False) if jit_compile else None

    @tf.autograph.experimental.do_not_convert
    def train_step(self, batches: Batches) -> dict[str, tf.Tensor]:
        optimizer = self.optimizer
        if self._by_xla is None:
            loss, gradients = self._differentiated(lambda: self.compute_loss(batches, training=True), penalties=True)
        else:
            loss, gradients = self._compiled(batches)
        pairs = [(of, by) for of, by in zip(gradients, self.trainable_variables, strict=True) if of is not None]
        if not isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer):
            optimizer.apply_gradients(pairs)
            return {"loss": loss}
        scale = optimizer.loss_scale
        unscaled = optimizer.get_unscaled_gradients([of for of, _ in pairs])
        optimizer.apply_gradients(list(zip(unscaled, [by for _, by in pairs], strict=True)))
        # Keras begins to count steps anew when it leaves one out, and when it doubles the scale.
        left_out = tf.equal(optimizer.dynamic_counter, 0) & (optimizer.loss_scale <= scale)
        return {"loss": loss, OVERFLOWED: tf.cast(left_out, tf.float32)}

    def _compiled(self, batches: Batches) -> tuple[tf.Tensor, list[Gradient | None]]:
        by_xla = self._by_xla
        assert by_xla is not None
        seed = tf.stack([tf.constant(self._draws_seed, tf.int64), tf.cast(self.optimizer.iterations, tf.int64)])
        own, full = self._prepared(batches, seed)

        def compiled() -> tuple[tf.Tensor, list[Gradient]]:
            return by_xla(own, seed)

        def by_kernels() -> tuple[tf.Tensor, list[Gradient]]:
            return self._own_gradients(own, seed)

        loss, gradients = compiled() if full is None else tf.cond(full, compiled, by_kernels)
        by_place = dict(zip(self._with_gradient, gradients, strict=True))
        every: list[Gradient | None] = [by_place.get(place) for place in range(len(self.trainable_variables))]
        around = self._around()
        if around:
            kept, further = self._differentiated(
                lambda: tf.add_n([of.loss(self.recommender, batches) for of in around]), penalties=False
            )
            loss, every = loss + kept, [_added(*both) for both in zip(every, further, strict=True)]
        return loss, every

    def _prepared(self, batches: Batches, seed: tf.Tensor) -> tuple[Batches, tf.Tensor | None]:
        """What the compiled part gets, and whether all of it is of full size; None where sizes are all alike."""
        own, full = {}, []
        with compiled_step(tf.random.experimental.stateless_fold_in(seed, 0)):
            for name in (NEW, REPLAYED):
                if name in batches:
                    batch = dict(batches[name])
                    if OF_FULL_SIZE in batch:
                        full.append(batch.pop(OF_FULL_SIZE))
                    own[name] = self.recommender.prepare(batch)
        return own, tf.reduce_all(full) if full else None

    def _own_gradients(self, batches: Batches, seed: tf.Tensor) -> tuple[tf.Tensor, list[Gradient]]:
        """The loss of the model and of what is compiled with it, and those gradients that there are."""

        def loss() -> tf.Tensor:
            with compiled_step(seed):
                own = tf.cast(self.recommender.compute_loss(batches[NEW], training=True), tf.float32)
                return own + sum(of.loss(self.recommender, batches) for of in self._within())

        total, gradients = self._differentiated(loss, penalties=True)
        self._with_gradient = [place for place, of in enumerate(gradients) if of is not None]
        return total, [gradients[place] for place in self._with_gradient]

    def _differentiated(
        self, loss: Callable[[], tf.Tensor], penalties: bool
    ) -> tuple[tf.Tensor, list[Gradient | None]]:
        """A loss, and its gradients by all variables, with the layers' own `penalties` and times the loss scale."""
        with tf.GradientTape() as tape:
            value = loss()
            total = value + sum(tf.reduce_sum(of) for of in (self.losses if penalties else ()))
            if isinstance(self.optimizer, keras.mixed_precision.LossScaleOptimizer):
                total = self.optimizer.get_scaled_loss(total)
        return value, tape.gradient(total, self.trainable_variables)


def _added(one_part: Gradient | None, other: Gradient | None) -> Gradient | None:
    """The sum of two gradients by one variable; of two sparse ones, a sparse one."""
    if one_part is None or other is None:
        return other if one_part is None else one_part
    if isinstance(one_part, tf.IndexedSlices) and isinstance(other, tf.IndexedSlices):
        values = tf.concat([one_part.values, other.values], axis=0)
        indices = tf.concat([tf.cast(of.indices, tf.int64) for of in (one_part, other)], axis=0)
        return tf.IndexedSlices(values, indices, one_part.dense_shape)
    return tf.convert_to_tensor(one_part) + tf.convert_to_tensor(other)


def make_learner(
    policy: Policy,
    recommender: Recommender,
    loss_terms: Sequence[LossTerm],
    frozen: Collection[tf.Variable],
    shared: bool = False,
) -> Learner:
    """The learner that `policy` needs, of steps that replicas share or not, not compiled by Keras yet."""
    if shared:
        return SharedLearner(recommender, loss_terms, frozen, policy.seed)
    if policy.jit_compile or policy.precision == "mixed_float16":
        return AcceleratedLearner(recommender, loss_terms, frozen, policy.seed, policy.jit_compile)
    return Learner(recommender, loss_terms, frozen)


def scaled(optimizer: keras.optimizers.Optimizer, precision: Precision) -> keras.optimizers.Optimizer:
    """`optimizer`, of float16 with a loss that is scaled up for it: numbers below 6e-8 are zero in so few bits.

    The scale begins at 32,768, is halved with each step whose gradients overflow, which is left out, and doubled after
    2,000 that don't (Micikevicius et al., "Mixed precision training", ICLR 2018, section 3.2).
    """
    return keras.mixed_precision.LossScaleOptimizer(optimizer) if precision == "mixed_float16" else optimizer


def loss_scale(optimizer: keras.optimizers.Optimizer) -> list[tf.Variable]:
    """What an optimizer keeps of its loss scale: none but of float16."""
    if not isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer):
        return []
    return [optimizer._loss_scale.current_loss_scale, optimizer.dynamic_counter]


class OverflowCount(keras.callbacks.Callback):
    """How many steps were left out because their gradients overflowed, and of how many."""

    def __init__(self) -> None:
        super().__init__()
        self.overflowed, self.steps = 0, 0

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.steps += 1
        self.overflowed += int((logs or {}).get(OVERFLOWED, 0.0))

    def __str__(self) -> str:
        return (
            f"{self.overflowed} of {self.steps} steps were left out, as their float16 gradients overflowed; a few are "
            "what it takes to find the loss scale."
        )
