"""Beam: a span's files become clean event Examples, cut by time; what can't be used is kept with its reason."""

from typing import TYPE_CHECKING, Any

from components.span_example_gen.errors import SpanError

if TYPE_CHECKING:
    from components.span_example_gen.component import SpanExampleGen

__all__ = ["SpanError", "SpanExampleGen"]


def __getattr__(name: str) -> Any:
    # Loaded when it is asked for: who only reads a file (`warmspan init`) does not wait for TFX.
    if name == "SpanExampleGen":
        from components.span_example_gen.component import SpanExampleGen

        return SpanExampleGen
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
