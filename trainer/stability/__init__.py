"""What keeps the old days from being forgotten: small parts, a file each, that add up in one loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from trainer.stability.distillation import DistilledBatches
from trainer.stability.selection import SelectionName


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
