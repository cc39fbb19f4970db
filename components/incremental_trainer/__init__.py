"""Trains a candidate from the champion on the spans that it owes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.on_demand import on_demand

if TYPE_CHECKING:
    from components.incremental_trainer.component import IncrementalTrainer

__all__ = ["IncrementalTrainer"]

__getattr__ = on_demand(__name__, IncrementalTrainer="component")
