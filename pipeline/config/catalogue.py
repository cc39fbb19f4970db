"""The section `catalogue` of the settings: what the shop sells, by date."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pydantic

from pipeline.config.data import DATE_TOKENS
from pipeline.config.section import Section


class Catalogue(Section):
    """Where the catalogue's deliveries lie and how they are read.

    With `delivery: snapshot` a delivery names everything that is sold: what it does not name is withdrawn. With
    `changes` it names what is new or other than before. A span takes what was delivered up to its own date. Without
    a `pattern` the path is one file, a snapshot that is written anew for every day.

    `item` is the column of item ids (null: that of the events), `withdrawn` one that says true or false, yes or no, 1
    or 0, or nothing for what is sold. `valid_from` is a column of times from which a change holds. `unlisted` items are
    those of events that no delivery has named.
    """

    path: Path
    pattern: str | None = "{YYYY}-{MM}-{DD}/*"
    format: Literal["csv", "parquet", "jsonl", "tfrecord"] = "csv"
    delivery: Literal["snapshot", "changes"] = "snapshot"
    item: str | None = None
    withdrawn: str | None = None
    valid_from: str | None = None
    unlisted: Literal["serve", "hide"] = "serve"
    max_reject_fraction: float = pydantic.Field(default=0.05, ge=0, le=1)
    max_withdrawn_fraction: float = pydantic.Field(default=0.5, ge=0, le=1)
    max_changed_fraction: float = pydantic.Field(default=0.5, ge=0, le=1)

    @pydantic.field_validator("pattern")
    @classmethod
    def _names_a_span(cls, value: str | None) -> str | None:
        dated = [token for token in DATE_TOKENS if token in (value or "")]
        numbered = "{SPAN" in (value or "")
        if value is None or (len(dated) == len(DATE_TOKENS) and not numbered) or (numbered and not dated):
            return value
        raise ValueError(
            f"must name a date by {{YYYY}}, {{MM}} and {{DD}}, or a span by {{SPAN}} alone. Received: {value!r}. "
            "Write for example '{YYYY}-{MM}-{DD}/*.csv', or null where one file is written anew for every day."
        )

    @pydantic.model_validator(mode="after")
    def _deliveries_fit(self) -> Catalogue:
        if self.pattern is None and self.delivery == "changes":
            raise ValueError(
                "`delivery: changes` needs a `pattern`, which says of which day they are. Received: null. Keep the "
                "files of each day, or deliver snapshots."
            )
        if self.valid_from is not None and self.delivery == "snapshot":
            raise ValueError(
                f"`valid_from` has an effect with `delivery: changes` only. Received: {self.valid_from!r} with "
                "snapshots. Take it out."
            )
        if self.delivery == "changes" and self.max_withdrawn_fraction != 0.5:
            raise ValueError(
                "`max_withdrawn_fraction` has an effect with `delivery: snapshot` only. Received: "
                f"{self.max_withdrawn_fraction!r} with changes. Take it out."
            )
        return self

    @property
    def dated(self) -> bool:
        """Whether a delivery is of a calendar day."""
        return self.pattern is not None and "{YYYY}" in self.pattern
