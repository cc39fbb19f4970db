"""Puts a blessed model into TF Serving's folder, takes it out again, and says in words what the gate found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.span_pusher.component import SpanPusher

__all__ = ["SpanPusher"]


def __getattr__(name: str) -> Any:
    # The folder is also read by commands that must not wait for TFX.
    if name == "SpanPusher":
        from components.span_pusher.component import SpanPusher

        return SpanPusher
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
