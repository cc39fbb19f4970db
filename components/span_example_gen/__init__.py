"""Beam: a span's files become clean event Examples, cut by time; what can't be used is kept with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.on_demand import on_demand
from components.span_example_gen.errors import SpanError

if TYPE_CHECKING:
    from components.span_example_gen.component import SpanExampleGen

__all__ = ["SpanError", "SpanExampleGen"]

__getattr__ = on_demand(__name__, SpanExampleGen="component")
