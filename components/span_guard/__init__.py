"""Holds a span that does not look like those before it, before anything is trained on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.span_guard.component import SpanGuard

__all__ = ["SpanGuard"]


def __getattr__(name: str) -> Any:
    # The names of the figures are also read by the settings, which must not wait for TFX.
    if name == "SpanGuard":
        from components.span_guard.component import SpanGuard

        return SpanGuard
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
