"""The section `serving` of the settings: what is exported, and what an export must show before it is pushed."""

from __future__ import annotations

from typing import Literal

import pydantic

from pipeline.config.section import Section

_OUTPUTS = ("item_ids", "scores", "titles")  # names that an answer has already


class Index(Section):
    """How items are found (`docs/serving-model.md` says what each costs and when it pays).

    `type`: `exact` looks at every item, `approximate` at the `probes` of `lists` that are nearest. `table`: in how many
    bits the items' vectors are kept. Where the answer is not exact, an export that finds less than `min_recall` of the
    exact one is not pushed; `probes: null` takes as many as reach it.
    """

    type: Literal["exact", "approximate"] = "exact"
    table: Literal["float32", "float16", "int8"] = "float32"
    lists: int | None = pydantic.Field(default=None, ge=1)
    probes: int | None = pydantic.Field(default=None, ge=1)
    min_recall: float = pydantic.Field(default=0.95, ge=0, le=1)

    @pydantic.model_validator(mode="after")
    def _lists_are_approximate(self) -> Index:
        if self.type == "exact" and (self.lists or self.probes):
            raise ValueError("must be `type: approximate` where `lists` or `probes` are given. Received: exact.")
        return self


class Serving(Section):
    """What is exported.

    `columns` of `data.items` come along with a recommended item; null: its titles. `available` is its column that says
    which items may be recommended (true or false). `latency_budget_ms`: a twentieth of the requests may take longer.
    """

    columns: tuple[str, ...] | None = None
    available: str | None = None
    index: Index = Index()
    latency_budget_ms: float = pydantic.Field(default=250.0, gt=0)

    @pydantic.field_validator("columns")
    @classmethod
    def _names_are_free(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if taken := sorted(set(value or ()) & set(_OUTPUTS)):
            raise ValueError(f"must not be named as an answer is ({', '.join(_OUTPUTS)}). Received: {taken}.")
        return value
