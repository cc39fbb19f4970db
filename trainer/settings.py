"""The one definition of what can be set of learning: model, policy, schedule and stability. No TensorFlow here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

NewRows = Literal["cooccurrence", "mean", "random"]
SelectionName = Literal["reservoir", "recency", "frequency", "herding"]
DistilledBatches = Literal["replayed", "new", "both"]
OptimizerName = Literal["adagrad", "adam"]
Watch = Literal["loss", "recall", "ndcg", "mrr"]


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How the learning rate changes.

    Attributes:
      within: `constant`; `cosine`: up in a straight line, then down along half a cosine; or `plateau`: down by `factor`
        whenever what is watched on the held-out part has not improved for `patience` epochs.
      warm_up: share of a span's steps that go up, in [0, 1], for `cosine`.
      final: where the cosine ends, as a share of the peak.
      factor: of the rate after a plateau, in (0, 1).
      patience: epochs, at least 1. Where it is above the update's own patience, training stops first.
      rates: peaks to choose from at the start of each span by `probe_steps` steps with each (see `probe`); empty for
        the policy's one.
      probe_steps: at least 1.
      slots: what a span finds of the accumulators of the spans before: `carry` all, `reset` nothing, `decay` a part.
      keep: that part, in [0, 1].
    """

    within: Literal["constant", "cosine", "plateau"] = "constant"
    warm_up: float = 0.1
    final: float = 0.0
    slots: Literal["carry", "reset", "decay"] = "carry"
    keep: float = 0.5
    factor: float = 0.5
    patience: int = 1
    rates: tuple[float, ...] = ()
    probe_steps: int = 50

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Schedule:
        """Reads what `dataclasses.asdict` gives, through JSON too; what is not given has its default."""
        return cls(**{**raw, "rates": tuple(raw.get("rates", ()))})

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


@dataclasses.dataclass(frozen=True)
class ReplaySettings:
    """See `replay.Replay` and `selection`. `budget`: sequences kept, 0 for none; `half_life`: in spans, of `recency`.

    `fraction`: replayed positions a new one.
    """

    budget: int = 0
    fraction: float = 0.5
    weight: float = 0.5
    selection: SelectionName = "reservoir"
    half_life: float = 7.0


@dataclasses.dataclass(frozen=True)
class DistillationSettings:
    """See `distillation.Distillation`. `weight` 0 is off; `adaptive` makes it the base of ADER's."""

    weight: float = 0.0
    adaptive: bool = False
    temperature: float = 1.0
    batches: DistilledBatches = "both"
    candidates: int = 2000


@dataclasses.dataclass(frozen=True)
class ProximalSettings:
    """See `proximal.Proximal`. `strength` 0 is off."""

    strength: float = 0.0


@dataclasses.dataclass(frozen=True)
class EwcSettings:
    """See `ewc.Ewc`. `strength` 0 is off. `sample`: positions that the Fisher information is estimated on."""

    strength: float = 0.0
    sample: int = 1000


@dataclasses.dataclass(frozen=True)
class PartialSettings:
    """See `partial`. Patterns of the paths of variables: which stay, and by what factor others' rates differ."""

    freeze: tuple[str, ...] = ()
    rates: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ShrinkSettings:
    """See `shrink_perturb`. `factor` 1 and `noise` 0 are off. `variables`: patterns of their paths."""

    factor: float = 1.0
    noise: float = 0.0
    variables: tuple[str, ...] = ("*",)


@dataclasses.dataclass(frozen=True)
class AveragingSettings:
    """See `averaging`. `share` of a span's new weights in those that are kept; 1 is off."""

    share: float = 1.0


@dataclasses.dataclass(frozen=True)
class Stability:
    """Which parts are on, and how much each counts. All are off by default."""

    replay: ReplaySettings = dataclasses.field(default_factory=ReplaySettings)
    proximal: ProximalSettings = dataclasses.field(default_factory=ProximalSettings)
    distillation: DistillationSettings = dataclasses.field(default_factory=DistillationSettings)
    ewc: EwcSettings = dataclasses.field(default_factory=EwcSettings)
    partial: PartialSettings = dataclasses.field(default_factory=PartialSettings)
    shrink: ShrinkSettings = dataclasses.field(default_factory=ShrinkSettings)
    averaging: AveragingSettings = dataclasses.field(default_factory=AveragingSettings)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Stability:
        """Reads what `dataclasses.asdict` gives, through JSON too; what is not given has its default."""
        return cls(
            replay=ReplaySettings(**raw.get("replay", {})),
            proximal=ProximalSettings(**raw.get("proximal", {})),
            distillation=DistillationSettings(**raw.get("distillation", {})),
            ewc=EwcSettings(**raw.get("ewc", {})),
            partial=PartialSettings(**_tuples(raw.get("partial", {}))),
            shrink=ShrinkSettings(**_tuples(raw.get("shrink", {}))),
            averaging=AveragingSettings(**raw.get("averaging", {})),
        )


def _tuples(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """Which model: `type` is a built-in name or a dotted path, `params` its keyword arguments."""

    type: str
    params: dict
    history_length: int


@dataclasses.dataclass(frozen=True)
class Policy:
    """How a span changes a model; the `update` section of the settings.

    `initial_accumulator` is Adagrad's: a row's first steps are as long as the learning rate where it is far below the
    row's squared gradients, which are small under a mean over the batch; at Keras's 0.1 a seldom row hardly moves.
    `weight_decay` is of all that is no table (see `make_optimizer`).
    `cold_epochs` are those of a span that is learned from nothing, which takes more; None for as many as `epochs`.
    `watch` is what is to improve on the held-out part, or training stops after `patience` more epochs.
    """

    epochs: int = 5
    cold_epochs: int | None = None
    batch_size: int = 256
    optimizer: OptimizerName = "adagrad"
    learning_rate: float = 0.1
    initial_accumulator: float = 0.1
    clip_norm: float | None = 10.0
    weight_decay: float = 0.0
    patience: int = 1
    watch: Watch = "loss"
    new_rows: NewRows = "cooccurrence"
    seed: int = 1
    stability: Stability = dataclasses.field(default_factory=Stability)
    schedule: Schedule = dataclasses.field(default_factory=Schedule)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Policy:
        """Reads what `dataclasses.asdict` gives; what is not given has its default."""
        parts = {
            "stability": Stability.from_dict(raw.get("stability", {})),
            "schedule": Schedule.from_dict(raw.get("schedule", {})),
        }
        return cls(**{**raw, **parts})
