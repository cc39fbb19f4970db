"""The catalogue of a span: yesterday's state and what was delivered since."""

from components.catalogue_gen.component import CatalogueGen

__all__ = ["CatalogueGen"]
