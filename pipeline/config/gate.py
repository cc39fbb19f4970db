"""The sections `gate` and `push` of the settings: what a candidate must show, and how it gets into service."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from components.object_store.address import StoreAddress
from pipeline.config.section import Section

_SLICES = tuple(f"{ids}_slice:{known}" for ids in ("item", "key") for known in ("new", "cold", "warm"))


class Threshold(Section):
    """`floor`: the metric must reach it. `max_drop`: it may fall this far below the champion's (absolute).

    More than chance alone makes of so many events, that is: see `components.paired_comparison.bounds`.
    """

    floor: float | None = None
    max_drop: float | None = pydantic.Field(default=None, ge=0)


class Gate(Section):
    """What a candidate must show before it is pushed. Metrics: those of the model (docs/models.md)."""

    k: int = pydantic.Field(default=20, ge=1)
    min_events: int = pydantic.Field(default=20, ge=1)
    verdict_share: float = pydantic.Field(default=0.5, gt=0, lt=1)
    cold_below: int = pydantic.Field(default=5, ge=1)
    thresholds: dict[str, Threshold] = pydantic.Field(
        default_factory=lambda: {"recall": Threshold(floor=0.0, max_drop=0.02)}
    )
    slice_thresholds: dict[str, dict[str, Threshold]] = pydantic.Field(default_factory=dict)
    confidence: float = pydantic.Field(default=0.975, gt=0.5, lt=1)
    on_little_evidence: Literal["bless", "refuse"] = "bless"
    min_slice_events: int = pydantic.Field(default=100, ge=1)
    budget: float | None = pydantic.Field(default=2.0, ge=0)
    anchor_spans: int = pydantic.Field(default=14, ge=1)
    pool_events: int = pydantic.Field(default=1000, ge=1)
    retention: float | None = pydantic.Field(default=1.5, ge=0)
    confidence_intervals: bool = False

    @property
    def min_verdict_events(self) -> int:
        """`min_events` is of both parts of the held-out events: this is the verdict part's share of it."""
        return max(1, round(self.min_events * self.verdict_share))

    @pydantic.field_validator("slice_thresholds")
    @classmethod
    def _slices_exist(cls, value: dict[str, dict[str, Threshold]]) -> dict[str, dict[str, Threshold]]:
        if unknown := sorted(set(value) - set(_SLICES)):
            raise ValueError(f"must name slices, which are {', '.join(_SLICES)}. Received: {', '.join(unknown)}.")
        return value


class PlacesForNew(Section):
    """So many of the first `gate.k` places of each list are kept for new items, the best by their scores.

    New is what first appeared in the catalogue in one of the last `younger_than` spans, or what has
    `fewer_events_than` so many; with both, that of which both are true.
    """

    places: int = pydantic.Field(ge=1)
    younger_than: int | None = pydantic.Field(default=None, ge=1)
    fewer_events_than: int | None = pydantic.Field(default=None, ge=1)

    @pydantic.model_validator(mode="after")
    def _says_what_is_new(self) -> PlacesForNew:
        if self.younger_than is None and self.fewer_events_than is None:
            raise ValueError(
                "must say which items are new, by `younger_than` (spans) or `fewer_events_than`. Received: neither. "
                "Write for example {places: 2, younger_than: 7}."
            )
        return self


class Push(Section):
    """How a blessed model reaches TF Serving's folder.

    `path`: a copy of the folder, kept in an object store, from which servers elsewhere load.
    """

    path: Annotated[StoreAddress, pydantic.PlainValidator(StoreAddress.parse)] | None = None
    keep_versions: int = pydantic.Field(default=7, ge=1)
    max_k: int = pydantic.Field(default=100, ge=1)
    exclude_seen: bool = True
    places_for_new: PlacesForNew | None = None
