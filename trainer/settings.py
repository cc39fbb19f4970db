"""What can be set of learning: the one definition, with its defaults and its bounds. No TensorFlow here.

The section `update` of a settings file is `Policy` with what the pipeline adds to it. A value out of its bounds, or a
setting that there is not, is refused where it is given.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Any, Literal

import pydantic
from pydantic.dataclasses import dataclass

from trainer.features.declaration import Feature

NewRows = Literal["cooccurrence", "mean", "random"]
SelectionName = Literal["reservoir", "recency", "frequency", "herding"]
DistilledBatches = Literal["replayed", "new", "both"]
OptimizerName = Literal["adagrad", "adam"]
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]
Watch = Literal["loss", "recall", "ndcg", "mrr"]
TeachingLoss = Literal["softmax", "ranking"]

PositiveRate = Annotated[float, pydantic.Field(gt=0)]

_KNOWN = pydantic.ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_KNOWN)
class Schedule:
    """The learning rate within a span, and what a span finds of the optimizer's accumulators.

    Attributes:
      within: `constant`; `cosine`: up in a straight line, then down along half a cosine; or `plateau`: down by `factor`
        whenever what is watched on the held-out part has not improved for `patience` epochs.
      warm_up: share of a span's steps that go up, for `cosine`.
      final: where the cosine ends, as a share of the peak.
      slots: what a span finds of the accumulators of the spans before: `carry` all, `reset` nothing, `decay` a part.
      keep: that part.
      factor: of the rate after a plateau.
      patience: epochs. Where it is above the update's own patience, training stops first.
      rates: peaks to choose from at the start of each span by `probe_steps` steps with each (see
        `learning_rate_probe`); empty for the policy's one.
      row_boost: how many times the learning rate the first step of a row of a table has, for `adam`; by its n-th step
        what is more than once falls to 1 / (1 + (n - 1) / row_touches). What is known of an id by a few events is worth
        little, so that new events may change much; by thousands they may not (a rate for each coordinate that falls
        with what it has met: McMahan et al., "Ad click prediction: a view from the trenches", KDD 2013, section 3.1).
      row_touches: steps of a row after which half of that is gone.
    """

    within: Literal["constant", "cosine", "plateau"] = "constant"
    warm_up: float = pydantic.Field(default=0.1, ge=0, le=1)
    final: float = pydantic.Field(default=0.0, ge=0, le=1)
    slots: Literal["carry", "reset", "decay"] = "carry"
    keep: float = pydantic.Field(default=0.5, ge=0, le=1)
    factor: float = pydantic.Field(default=0.5, gt=0, lt=1)
    patience: int = pydantic.Field(default=1, ge=1)
    rates: tuple[PositiveRate, ...] = ()
    probe_steps: int = pydantic.Field(default=50, ge=1)
    row_boost: float = pydantic.Field(default=1.0, ge=1)
    row_touches: float = pydantic.Field(default=100.0, gt=0)

    def rate(self, step: int, steps: int) -> float:
        """The share of the peak learning rate at `step` (from 0) of a span's `steps`, above 0 on the way up.

        Cosine: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, eq. 5, a span
        being one run. Warm-up: Goyal et al., "Accurate, large minibatch SGD", 2017, section 2.2.
        """
        if self.within != "cosine":
            return 1.0
        up = round(self.warm_up * steps)
        if step < up:
            return (step + 1) / up
        way = min(1.0, (step - up) / max(1, steps - up))
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * way))


@dataclass(frozen=True, config=_KNOWN)
class ReplaySettings:
    """Old training sequences that are learned again, see `replay.Replay`: `budget` of them are kept, 0 for none.

    Each batch comes with `fraction` times as many old positions, whose loss counts `weight` times. `selection` says
    which are kept: all as likely (`reservoir`), younger ones rather (`recency`, half as likely with every `half_life`
    spans), items by how often they occur (`frequency`), and of each item those that stand for it best (`herding`).
    """

    budget: int = pydantic.Field(default=0, ge=0)
    fraction: float = pydantic.Field(default=0.5, gt=0)
    weight: float = pydantic.Field(default=0.5, ge=0)
    selection: SelectionName = "reservoir"
    half_life: float = pydantic.Field(default=7.0, gt=0)


@dataclass(frozen=True, config=_KNOWN)
class DistillationSettings:
    """Holds the candidate to the champion's scores of the items that both have; a `weight` of 0 does not.

    See `distillation.Distillation`. `batches`: from the memory (`replayed`), of the span (`new`), or `both`. `adaptive`
    makes `weight` the base of one that follows the share of old items and of remembered positions, as ADER's does. At
    most `candidates` items, but for those of the batch, are compared in a step.
    """

    weight: float = pydantic.Field(default=0.0, ge=0)
    adaptive: bool = False
    temperature: float = pydantic.Field(default=1.0, gt=0)
    batches: DistilledBatches = "both"
    candidates: int = pydantic.Field(default=2000, ge=1)


@dataclass(frozen=True, config=_KNOWN)
class ProximalSettings:
    """Pulls the weights that a batch uses towards the champion's (`proximal.Proximal`); a `strength` of 0 does not."""

    strength: float = pydantic.Field(default=0.0, ge=0)


@dataclass(frozen=True, config=_KNOWN)
class EwcSettings:
    """Pulls them the harder the more the old days depend on them (`ewc.Ewc`), as `sample` positions of each day tell.

    `decay`: what the days before a day count in the average of them and it.
    """

    strength: float = pydantic.Field(default=0.0, ge=0)
    sample: int = pydantic.Field(default=1000, ge=1)
    decay: float = pydantic.Field(default=0.9, ge=0, le=1)


@dataclass(frozen=True, config=_KNOWN)
class PartialSettings:
    """Variables by patterns of their paths, `*` for any text: those in `freeze` stay as they are (see `freezing`).

    `rates` multiplies the learning rate of others, for example `{item_embedding/*: 0.1}`; the last that fits counts.
    """

    freeze: tuple[str, ...] = ()
    rates: dict[str, PositiveRate] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, config=_KNOWN)
class ShrinkSettings:
    """At the start of a span weights are multiplied by `factor`, and `noise` times normal noise is added to them.

    See `shrink_perturb`. `factor` 1 and `noise` 0 are off. `variables`: patterns of their paths.
    """

    factor: float = pydantic.Field(default=1.0, gt=0, le=1)
    noise: float = pydantic.Field(default=0.0, ge=0)
    variables: tuple[str, ...] = pydantic.Field(default=("*",), min_length=1)


@dataclass(frozen=True, config=_KNOWN)
class AveragingSettings:
    """After a span, `share` of its weights and the rest of those before it are kept; 1 keeps the new ones alone."""

    share: float = pydantic.Field(default=1.0, gt=0, le=1)


@dataclass(frozen=True, config=_KNOWN)
class Stability:
    """What keeps the old days from being forgotten. All off by default; they add up.

    Raises:
      ValueError: distillation needs a memory that is not kept.
    """

    replay: ReplaySettings = dataclasses.field(default_factory=ReplaySettings)
    distillation: DistillationSettings = dataclasses.field(default_factory=DistillationSettings)
    proximal: ProximalSettings = dataclasses.field(default_factory=ProximalSettings)
    ewc: EwcSettings = dataclasses.field(default_factory=EwcSettings)
    partial: PartialSettings = dataclasses.field(default_factory=PartialSettings)
    shrink: ShrinkSettings = dataclasses.field(default_factory=ShrinkSettings)
    averaging: AveragingSettings = dataclasses.field(default_factory=AveragingSettings)

    @pydantic.model_validator(mode="after")
    def _remembers(self) -> Stability:
        distil = self.distillation
        if distil.weight and not self.replay.budget and (distil.adaptive or distil.batches == "replayed"):
            raise ValueError(
                "distillation that is adaptive or on replayed batches needs a memory. Received: a `replay.budget` of "
                "0. Set `replay.budget`."
            )
        return self


@dataclass(frozen=True, config=_KNOWN)
class Augmentation:
    """How training sequences are changed before a model over sequences learns them (`sequence_augmentation`).

    A window is changed in an epoch with probability `share`, by one of the operations that are above 0: `crop`, the
    part that is cut away; `mask` and `substitute`, the chance of each input; `reorder`, the part that is shuffled.

    Raises:
      ValueError: none of them is.
    """

    share: float = pydantic.Field(default=1.0, gt=0, le=1)
    crop: float = pydantic.Field(default=0.0, ge=0, lt=1)
    mask: float = pydantic.Field(default=0.0, ge=0, lt=1)
    reorder: float = pydantic.Field(default=0.0, ge=0, le=1)
    substitute: float = pydantic.Field(default=0.0, ge=0, lt=1)

    @property
    def operations(self) -> tuple[str, ...]:
        """Those that are set."""
        return tuple(name for name in ("crop", "mask", "reorder", "substitute") if getattr(self, name))

    @pydantic.model_validator(mode="after")
    def _changes_something(self) -> Augmentation:
        if not self.operations:
            raise ValueError(
                "augmentation must have an operation: `crop`, `mask`, `reorder` or `substitute` above 0. Received: "
                "none. Set one of them, or take `augmentation` out."
            )
        return self


@dataclass(frozen=True, config=_KNOWN)
class AfterRefusal:
    """How the next update learns after a candidate that was refused, or that was worse by the bound.

    For each of them that is not made good yet, of which at most `max_refusals` count (0: none), every learning rate is
    multiplied by `rate`, the old positions of a step by `replay`, each of them counting as before, and the epochs by
    `epochs`, rounded up. So nothing goes beyond its factor to the power of `max_refusals`.
    """

    rate: float = pydantic.Field(default=0.5, gt=0, le=1)
    replay: float = pydantic.Field(default=2.0, ge=1)
    epochs: float = pydantic.Field(default=1.0, gt=0, le=1)
    max_refusals: int = pydantic.Field(default=2, ge=0)


@dataclass(frozen=True, config=_KNOWN)
class ModelSpec:
    """Which model: `type` is a built-in name or a dotted path, `params` its keyword arguments.

    `features` are those of items that it learns from, perhaps none of a catalogue; None without a catalogue.
    `query_features` are those of key and context; None for none.
    """

    type: str
    params: dict[str, Any]
    history_length: int
    features: tuple[Feature, ...] | None = None
    query_features: tuple[Feature, ...] | None = None


@dataclass(frozen=True, config=_KNOWN)
class TeacherSettings:
    """A model of another shape that teaches the one that is served (`trainer.teaching`).

    `type` and `params` are its own, as those of `model`. Once `every` spans (days) have passed it learns all since it
    last did, by the policy of its student but for what keeps old days, with a `learning_rate`, `epochs` and
    `cold_epochs` of its own where these are given. Each night the student is held to its answers, `weight` times:
    `softmax`, to its distribution over the items, softened by `temperature`; `ranking`, to the list of its `top_k`
    best. At most `candidates` items are compared in a step, but for those of the batch; of more so many are drawn.

    Raises:
      ValueError: a setting of the other loss is given.
    """

    type: str
    params: dict[str, Any] = dataclasses.field(default_factory=dict)
    every: int = pydantic.Field(default=7, ge=1)
    weight: float = pydantic.Field(default=1.0, gt=0)
    loss: TeachingLoss = "softmax"
    temperature: float = pydantic.Field(default=1.0, gt=0)
    top_k: int = pydantic.Field(default=10, ge=1)
    candidates: int = pydantic.Field(default=2000, ge=1)
    learning_rate: float | None = pydantic.Field(default=None, gt=0)
    epochs: int | None = pydantic.Field(default=None, ge=1)
    cold_epochs: int | None = pydantic.Field(default=None, ge=1)

    @pydantic.model_validator(mode="after")
    def _fits_its_loss(self) -> TeacherSettings:
        if self.loss == "ranking" and self.temperature != 1:
            raise ValueError(
                "`temperature` has an effect with `loss: softmax` only. Received: "
                f"{self.temperature} with `loss: ranking`. Take it out."
            )
        if self.loss == "softmax" and self.top_k != 10:
            raise ValueError(
                f"`top_k` has an effect with `loss: ranking` only. Received: {self.top_k} with `loss: softmax`. Take "
                "it out."
            )
        return self


@dataclass(frozen=True, config=_KNOWN)
class Policy:
    """How a span changes a model.

    `initial_accumulator` is Adagrad's: a row's first steps are as long as the learning rate where it is far below the
    row's squared gradients, which are small under a mean over the batch; at Keras's 0.1 a seldom row hardly moves.
    `weight_decay` is of matrices that are no tables; gains, biases and temperatures keep their length (see
    `make_optimizer`).
    `cold_epochs` are those of a span that is learned from nothing, which takes more; None for as many as `epochs`.
    `precision`, by Keras's names, is what layers compute in while training; what is learned, kept and served is float32
    in any case (see `trainer.precision`).
    `jit_compile`: whether XLA compiles the loss and its gradients (see `trainer.accelerated_learner`).
    `watch` is what is to improve on the held-out part, or training stops after `patience` more epochs.
    `augmentation` is for models over sequences; None learns them as they are.
    `teacher` is who teaches the model; None for nobody.
    """

    epochs: int = pydantic.Field(default=5, ge=1)
    cold_epochs: int | None = pydantic.Field(default=None, ge=1)
    batch_size: int = pydantic.Field(default=256, ge=1)
    optimizer: OptimizerName = "adagrad"
    learning_rate: float = pydantic.Field(default=0.05, gt=0)
    initial_accumulator: float = pydantic.Field(default=1e-6, ge=0)
    clip_norm: float | None = pydantic.Field(default=10.0, gt=0)
    weight_decay: float = pydantic.Field(default=0.0, ge=0)
    patience: int = pydantic.Field(default=1, ge=0)
    watch: Watch = "loss"
    new_rows: NewRows = "cooccurrence"
    seed: int = 1
    precision: Precision = "float32"
    jit_compile: bool = False
    stability: Stability = dataclasses.field(default_factory=Stability)
    schedule: Schedule = dataclasses.field(default_factory=Schedule)
    augmentation: Augmentation | None = None
    teacher: TeacherSettings | None = None
