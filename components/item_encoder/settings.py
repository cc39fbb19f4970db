"""What the encoding of one column of texts can be told."""

from __future__ import annotations

import dataclasses

from components.json_parameter import JsonParameter


@dataclasses.dataclass(frozen=True)
class Settings(JsonParameter):
    """The settings of one encoder, as one JSON string among the component's execution parameters.

    Attributes:
      name: With which the column of the vectors begins: the feature's that is encoded.
      folder: The encoder, in Hugging Face's layout; every Beam worker reads it.
      text: The catalogue's column of texts.
      max_tokens: The longest text; the rest of it is cut off.
      batch: Most texts that are run together.
      prefix: What is put before every text, for encoders that were trained so ("passage: ").
      keep_unused: After how many spans without an item a text's vector is dropped.
      rows_per_shard: About how many items, and texts, one shard may hold.
    """

    name: str
    folder: str
    text: str
    max_tokens: int
    batch: int
    prefix: str
    keep_unused: int
    rows_per_shard: int = 100_000
