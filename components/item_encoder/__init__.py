"""Items' texts become vectors: each text is encoded once, and kept for as long as an item has it."""

from components.item_encoder.component import ItemEncoder
from components.item_encoder.encodings import Encodings, EncodingsError
from components.item_encoder.settings import Settings

__all__ = ["Encodings", "EncodingsError", "ItemEncoder", "Settings"]
