"""TFX's Evaluator, for which a slice that no event falls into is no reason to refuse."""

from components.gate.component import Gate

__all__ = ["Gate"]
