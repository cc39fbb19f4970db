"""TFX's Evaluator, for which a slice that no event falls into is no reason to refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.on_demand import on_demand

if TYPE_CHECKING:
    from components.gate.component import Gate

__all__ = ["Gate"]

__getattr__ = on_demand(__name__, Gate="component")
