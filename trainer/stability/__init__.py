"""What keeps the old days from being forgotten: small parts, a file each, that add up in one loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class ReplaySettings:
    """See `replay.Replay`. `budget`: sequences kept, 0 for none. `fraction`: replayed positions a new one."""

    budget: int = 0
    fraction: float = 0.5
    weight: float = 0.5


@dataclasses.dataclass(frozen=True)
class ProximalSettings:
    """See `proximal.Proximal`. `strength` 0 is off."""

    strength: float = 0.0


@dataclasses.dataclass(frozen=True)
class Stability:
    """Which parts are on, and how much each counts. All are off by default."""

    replay: ReplaySettings = dataclasses.field(default_factory=ReplaySettings)
    proximal: ProximalSettings = dataclasses.field(default_factory=ProximalSettings)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Stability:
        """Reads what `dataclasses.asdict` gives; what is not given has its default."""
        return cls(ReplaySettings(**raw.get("replay", {})), ProximalSettings(**raw.get("proximal", {})))
