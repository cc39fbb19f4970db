"""Tests the champion on a span before anything trains on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.on_demand import on_demand

if TYPE_CHECKING:
    from components.next_span_evaluator.component import NextSpanEvaluator

__all__ = ["NextSpanEvaluator"]

__getattr__ = on_demand(__name__, NextSpanEvaluator="component")
