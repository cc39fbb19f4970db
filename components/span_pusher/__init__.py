"""Puts a blessed model into TF Serving's folder, takes it out again, and says in words what the gate found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.on_demand import on_demand

if TYPE_CHECKING:
    from components.span_pusher.component import SpanPusher

__all__ = ["SpanPusher"]

__getattr__ = on_demand(__name__, SpanPusher="component")
