"""The section `update` of the settings: how one span changes the model."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from pipeline.config.section import Section


class Replay(Section):
    """Old training sequences that are learned again: `budget` of them are kept, 0 for none.

    Each batch comes with `fraction` times as many old positions, whose loss counts `weight` times. `selection` says
    which are kept: all as likely (`reservoir`), younger ones rather (`recency`, half as likely with every `half_life`
    spans), items by how often they occur (`frequency`), and of each item those that stand for it best (`herding`).
    """

    budget: int = pydantic.Field(default=0, ge=0)
    fraction: float = pydantic.Field(default=0.5, gt=0)
    weight: float = pydantic.Field(default=0.5, ge=0)
    selection: Literal["reservoir", "recency", "frequency", "herding"] = "reservoir"
    half_life: float = pydantic.Field(default=7.0, gt=0)


class Distillation(Section):
    """Holds the candidate to the champion's scores of the items that both have; a `weight` of 0 does not.

    `batches`: from the memory (`replayed`), of the span (`new`), or `both`. `adaptive` makes `weight` the base of a
    weight that follows the share of old items and of remembered positions. At most `candidates` items, but for those of
    the batch, are compared in a step.
    """

    weight: float = pydantic.Field(default=0.0, ge=0)
    adaptive: bool = False
    temperature: float = pydantic.Field(default=1.0, gt=0)
    batches: Literal["replayed", "new", "both"] = "both"
    candidates: int = pydantic.Field(default=2000, ge=1)


class Proximal(Section):
    """Pulls the weights that a batch uses towards the champion's; a `strength` of 0 does not."""

    strength: float = pydantic.Field(default=0.0, ge=0)


class Ewc(Section):
    """Pulls them the harder the more the old days depend on them, as `sample` positions tell; 0 does not."""

    strength: float = pydantic.Field(default=0.0, ge=0)
    sample: int = pydantic.Field(default=1000, ge=1)


class Partial(Section):
    """Variables by patterns of their paths, `*` for any text: those in `freeze` stay as they are.

    `rates` multiplies the learning rate of others, for example `{item_embedding/*: 0.1}`; the last that fits counts.
    """

    freeze: tuple[str, ...] = ()
    rates: dict[str, Annotated[float, pydantic.Field(gt=0)]] = pydantic.Field(default_factory=dict)


class Shrink(Section):
    """At the start of a span weights are multiplied by `factor`, and `noise` times normal noise is added to them."""

    factor: float = pydantic.Field(default=1.0, gt=0, le=1)
    noise: float = pydantic.Field(default=0.0, ge=0)
    variables: tuple[str, ...] = pydantic.Field(default=("*",), min_length=1)


class Averaging(Section):
    """After a span, `share` of its weights and the rest of those before it are kept; 1 keeps the new ones alone."""

    share: float = pydantic.Field(default=1.0, gt=0, le=1)


class Stability(Section):
    """What keeps the old days from being forgotten. All off by default; they add up."""

    replay: Replay = Replay()
    distillation: Distillation = Distillation()
    proximal: Proximal = Proximal()
    ewc: Ewc = Ewc()
    partial: Partial = Partial()
    shrink: Shrink = Shrink()
    averaging: Averaging = Averaging()

    @pydantic.model_validator(mode="after")
    def _remembers(self) -> Stability:
        distil = self.distillation
        if distil.weight and not self.replay.budget and (distil.adaptive or distil.batches == "replayed"):
            raise ValueError(
                "distillation that is adaptive or on replayed batches needs a memory. Received: a `replay.budget` of "
                "0. Set `replay.budget`."
            )
        return self


class Schedule(Section):
    """The learning rate within a span, and what a span finds of the optimizer's accumulators.

    `within`: `constant`; `cosine` with the first `warm_up` share of the steps going up and the end at `final` times the
    learning rate; or `plateau`, down by `factor` after `patience` epochs without improvement on the held-out part.
    `slots`: `carry`, `reset`, or `decay` to the share `keep` at the start of each span. `rates`: learning rates of
    which each span takes the one that is best on the held-out part after `probe_steps` steps, instead of the fixed one.
    """

    within: Literal["constant", "cosine", "plateau"] = "constant"
    warm_up: float = pydantic.Field(default=0.1, ge=0, le=1)
    final: float = pydantic.Field(default=0.0, ge=0, le=1)
    slots: Literal["carry", "reset", "decay"] = "carry"
    keep: float = pydantic.Field(default=0.5, ge=0, le=1)
    factor: float = pydantic.Field(default=0.5, gt=0, lt=1)
    patience: int = pydantic.Field(default=1, ge=1)
    rates: tuple[Annotated[float, pydantic.Field(gt=0)], ...] = ()
    probe_steps: int = pydantic.Field(default=50, ge=1)


class Update(Section):
    """How one span changes the model."""

    epochs: int = pydantic.Field(default=5, ge=1)
    cold_epochs: int | None = pydantic.Field(default=None, ge=1)
    batch_size: int = pydantic.Field(default=256, ge=1)
    optimizer: Literal["adagrad", "adam"] = "adagrad"
    learning_rate: float = pydantic.Field(default=0.05, gt=0)
    initial_accumulator: float = pydantic.Field(default=1e-6, ge=0)
    clip_norm: float | None = pydantic.Field(default=10.0, gt=0)
    weight_decay: float = pydantic.Field(default=0.0, ge=0)
    patience: int = pydantic.Field(default=1, ge=0)
    watch: Literal["loss", "recall", "ndcg", "mrr"] = "loss"
    new_rows: Literal["cooccurrence", "mean", "random"] = "cooccurrence"
    max_owed_spans: int = pydantic.Field(default=14, ge=0)
    retrain_spans: int = pydantic.Field(default=28, ge=1)
    seed: int = 1
    stability: Stability = Stability()
    schedule: Schedule = Schedule()
