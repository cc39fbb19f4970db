"""Items' texts become vectors: each text is encoded once, and kept for as long as an item has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.item_encoder.settings import Settings
from components.on_demand import on_demand

if TYPE_CHECKING:
    from components.item_encoder.component import ItemEncoder
    from components.item_encoder.encodings import Encodings, EncodingsError

__all__ = ["Encodings", "EncodingsError", "ItemEncoder", "Settings"]

__getattr__ = on_demand(__name__, ItemEncoder="component", Encodings="encodings", EncodingsError="encodings")
