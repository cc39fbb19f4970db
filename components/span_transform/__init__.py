"""From clean events and yesterday's state to training sequences, held-out positions and today's state."""

from components.span_transform.component import SpanTransform
from components.span_transform.settings import Settings

__all__ = ["Settings", "SpanTransform"]
