"""Beam: a span's files become clean event Examples, cut by time; what can't be used is kept with its reason."""

from components.span_example_gen.component import SpanExampleGen
from components.span_example_gen.errors import SpanError

__all__ = ["SpanError", "SpanExampleGen"]
