"""Puts a blessed model into TF Serving's folder, and says in words what the gate found."""

from components.span_pusher.component import SpanPusher

__all__ = ["SpanPusher"]
