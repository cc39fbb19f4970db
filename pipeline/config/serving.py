"""The section `serving` of the settings: what is exported, and what an export must show before it is pushed."""

from __future__ import annotations

import pydantic

from pipeline.config.section import Section
from serving.bundle.index_settings import IndexSettings

_OUTPUTS = ("item_ids", "scores", "titles")  # names that an answer has already


class Serving(Section):
    """What is exported.

    `columns` of `data.items` come along with a recommended item; null: its titles. `available` is its column that says
    which items may be recommended (true or false). `latency_budget_ms`: a twentieth of the requests may take longer.
    """

    columns: tuple[str, ...] | None = None
    available: str | None = None
    index: IndexSettings = pydantic.Field(default_factory=IndexSettings)
    latency_budget_ms: float = pydantic.Field(default=250.0, gt=0)

    @pydantic.field_validator("columns")
    @classmethod
    def _names_are_free(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if taken := sorted(set(value or ()) & set(_OUTPUTS)):
            raise ValueError(f"must not be named as an answer is ({', '.join(_OUTPUTS)}). Received: {taken}.")
        return value
