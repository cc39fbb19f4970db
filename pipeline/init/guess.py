"""What `init` writes into the settings file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Guess:
    """A setting that was chosen by looking at the data, and why."""

    setting: str
    value: Any
    why: str

    def __str__(self) -> str:
        return f"{self.setting}: {self.value} ({self.why})"


def percent(share: float) -> str:
    """A share for people: a part of a percent is not nothing."""
    return f"{share:.1%}".replace("%", " %")
