"""Candidate against champion and anchor on the same events: what is lost, and how sure that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.on_demand import on_demand

if TYPE_CHECKING:
    from components.paired_comparison.component import PairedComparison

__all__ = ["PairedComparison"]

__getattr__ = on_demand(__name__, PairedComparison="component")
