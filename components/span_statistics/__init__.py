"""TFX's StatisticsGen, for which a small span is no reason to build a Beam pipeline."""

from components.span_statistics.component import SpanStatistics

__all__ = ["SpanStatistics"]
