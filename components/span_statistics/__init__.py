"""TFX's StatisticsGen, for which a small span is no reason to build a Beam pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.on_demand import on_demand

if TYPE_CHECKING:
    from components.span_statistics.component import SpanStatistics

__all__ = ["SpanStatistics"]

__getattr__ = on_demand(__name__, SpanStatistics="component")
