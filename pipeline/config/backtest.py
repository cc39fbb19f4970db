"""The section `backtest` of the settings: what stands beside the policies in the table of `warmspan backtest`."""

from __future__ import annotations

from typing import Literal

import pydantic

from pipeline.config.section import Section

BaselineName = Literal["most_popular", "half_life", "own_items", "cooccurrence", "sequential_rules", "v_sknn"]


class Backtest(Section):
    """Which baselines without training are shown, and how they count.

    `half_life` is in days, of spans whose `data.span_hours` is below 24 in hours; what is popular by it also stands
    behind what the others have to say. `own_items` is the order of a key's own items. `pairs_per_item` bounds what
    `cooccurrence` and `sequential_rules` keep of each item, `sessions` how many `v_sknn` does, of which it looks at the
    `sample_size` most recent ones with a common item and takes the `nearest`.
    """

    baselines: tuple[BaselineName, ...] = ("most_popular", "half_life")
    half_life: float = pydantic.Field(default=2.0, gt=0)
    own_items: Literal["recent", "frequent"] = "recent"
    pairs_per_item: int = pydantic.Field(default=200, ge=1)
    sessions: int = pydantic.Field(default=100_000, ge=1)
    sample_size: int = pydantic.Field(default=1000, ge=1)
    nearest: int = pydantic.Field(default=100, ge=1)

    @pydantic.field_validator("baselines")
    @classmethod
    def _once_each(cls, names: tuple[BaselineName, ...]) -> tuple[BaselineName, ...]:
        if len(set(names)) < len(names):
            raise ValueError(f"`backtest.baselines` must name each once. Received: {', '.join(names)}. Take one out.")
        return names
