"""Holds a span that does not look like those before it, before anything is trained on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.on_demand import on_demand

if TYPE_CHECKING:
    from components.span_guard.component import SpanGuard

__all__ = ["SpanGuard"]

__getattr__ = on_demand(__name__, SpanGuard="component")
