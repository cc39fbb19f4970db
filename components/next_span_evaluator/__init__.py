"""Tests the champion on a span before anything trains on it."""

from components.next_span_evaluator.component import NextSpanEvaluator

__all__ = ["NextSpanEvaluator"]
