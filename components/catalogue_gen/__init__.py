"""The catalogue of a span: yesterday's state and what was delivered since."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.on_demand import on_demand

if TYPE_CHECKING:
    from components.catalogue_gen.component import CatalogueGen

__all__ = ["CatalogueGen"]

__getattr__ = on_demand(__name__, CatalogueGen="component")
