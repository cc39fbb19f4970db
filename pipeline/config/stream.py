"""The section `stream` of the settings: how `warmspan stream` learns and judges between two nightly runs."""

from __future__ import annotations

import pydantic

from pipeline.config.section import Section


class Stream(Section):
    """Mini-batch updates of a copy of the champion.

    A batch is learned `every_seconds` at most, of `batch_events` at most, in `epochs` passes with `rate` times the
    learning rate. A file is read once it has been as it is for `settle_seconds`. The keys whose hash falls into
    `verdict_share` are never learned within the day: of their events the last `verdict_events` judge each batch.
    """

    every_seconds: float = pydantic.Field(default=15.0, ge=0)
    batch_events: int = pydantic.Field(default=5000, ge=1)
    epochs: int = pydantic.Field(default=1, ge=1)
    rate: float = pydantic.Field(default=1.0, gt=0)
    verdict_share: float = pydantic.Field(default=0.1, gt=0, lt=1)
    verdict_events: int = pydantic.Field(default=1000, ge=1)
    settle_seconds: float = pydantic.Field(default=2.0, ge=0)
