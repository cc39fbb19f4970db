"""What can be set of the index: the one definition, with its defaults and its bounds. No TensorFlow here."""

from __future__ import annotations

from typing import Literal

import pydantic
from pydantic.dataclasses import dataclass

Precision = Literal["float32", "float16", "int8"]


@dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class IndexSettings:
    """How items are found (`docs/serving-model.md` says what each costs and when it pays).

    Attributes:
      type: `exact` looks at every item; `approximate` at the lists of items nearest to the query.
      table: in how many bits the items' vectors are kept.
      lists: of an approximate index; None for four times the square root of the number of items.
      probes: how many lists a request looks at; None for as few as reach `min_recall` at export.
      min_recall: share of the exact answer that an export must find; only for what is not exact.
      pruning: share of each item's vector and of each kernel that is served as zero, the smallest weights first.

    Raises:
      ValueError: `lists` or `probes` of an exact index.
    """

    type: Literal["exact", "approximate"] = "exact"
    table: Precision = "float32"
    lists: int | None = pydantic.Field(default=None, ge=1)
    probes: int | None = pydantic.Field(default=None, ge=1)
    min_recall: float = pydantic.Field(default=0.95, ge=0, le=1)
    pruning: float = pydantic.Field(default=0.0, ge=0, lt=1)

    @pydantic.model_validator(mode="after")
    def _lists_are_approximate(self) -> IndexSettings:
        if self.type == "exact" and (self.lists or self.probes):
            raise ValueError("must be `type: approximate` where `lists` or `probes` are given. Received: exact.")
        return self

    @property
    def lossless(self) -> bool:
        return self.type == "exact" and self.table == "float32" and not self.pruning
