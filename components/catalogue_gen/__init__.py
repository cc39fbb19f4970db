"""The catalogue of a span: yesterday's state and what was delivered since."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.catalogue_gen.component import CatalogueGen

__all__ = ["CatalogueGen"]


def __getattr__(name: str) -> Any:
    # Loaded when it is asked for: who reads events asks this package how the cells of features are read.
    if name == "CatalogueGen":
        from components.catalogue_gen.component import CatalogueGen

        return CatalogueGen
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
