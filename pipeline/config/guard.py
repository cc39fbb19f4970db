"""The section `guard` of the settings: which spans are held before anything is trained on them."""

from __future__ import annotations

import pydantic

from components.span_guard.limits import LIMITS
from pipeline.config.section import Section


class Guard(Section):
    """A span that is far from those before it is held: not trained on, not lost, until a person releases it.

    `hold`: false measures and says, and lets all in. `at_least`: with fewer past spans only what is certain holds.
    `spans`: how many past spans are looked at. `sensitivity`: 2 halves all limits, 0.5 doubles them. `ignore`: figures
    that hold nothing; `drift` and `fits` are of all columns, `drift country` of one.
    """

    hold: bool = True
    at_least: int = pydantic.Field(default=7, ge=3)
    spans: int = pydantic.Field(default=28, ge=3)
    sensitivity: float = pydantic.Field(default=1.0, gt=0)
    ignore: tuple[str, ...] = ()

    @pydantic.field_validator("ignore")
    @classmethod
    def _names_figures(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in value if name.partition(" ")[0] not in LIMITS]:
            raise ValueError(f"must name figures, which are {', '.join(LIMITS)}. Received: {', '.join(unknown)}.")
        return value

    @pydantic.model_validator(mode="after")
    def _can_be_reached(self) -> Guard:
        if self.at_least > self.spans:
            raise ValueError(f"`at_least` must not be above `spans`. Received: {self.at_least} and {self.spans}.")
        return self
