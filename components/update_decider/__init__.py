"""Decides, before training, what is done with a span."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.on_demand import on_demand

if TYPE_CHECKING:
    from components.update_decider.component import UpdateDecider

__all__ = ["UpdateDecider"]

__getattr__ = on_demand(__name__, UpdateDecider="component")
