"""From clean events and yesterday's state to training sequences, held-out positions and today's state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.on_demand import on_demand
from components.span_transform.settings import Settings

if TYPE_CHECKING:
    from components.span_transform.component import SpanTransform

__all__ = ["Settings", "SpanTransform"]

__getattr__ = on_demand(__name__, SpanTransform="component")
