"""What the transform can be told."""

from __future__ import annotations

import dataclasses
import json


@dataclasses.dataclass(frozen=True)
class Settings:
    """The transform's settings, as one JSON string among the component's execution parameters.

    Attributes:
      length: Longest sequence, in events, and how many trained events of a key are kept.
      oov_rows: Rows shared by the ids without a row of their own.
      item_min_count: Events an item needs for a row of its own.
      key_min_count: Events a key needs for a row of its own.
      half_life_spans: Spans after which an event counts half in the vocabulary's `recent`.
      cold_below: An id trained on less often than this is in the slice `cold`.
      rows_per_shard: About how many events, those of the history included, one shard may hold.
    """

    length: int = 50
    oov_rows: int = 1
    item_min_count: int = 1
    key_min_count: int = 1
    half_life_spans: float = 7.0
    cold_below: int = 5
    rows_per_shard: int = 1_000_000

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
                raise ValueError(f"`{field.name}` must be a number above 0. Received: {value!r}.")
            if field.name != "half_life_spans" and not isinstance(value, int):
                raise ValueError(f"`{field.name}` must be a whole number. Received: {value!r}.")

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Reads what `to_json` wrote; what is not given has its default.

        Raises:
          ValueError: an unknown setting, or a value that can't be used.
        """
        given = json.loads(text)
        unknown = set(given) - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            known = ", ".join(field.name for field in dataclasses.fields(cls))
            raise ValueError(f"A setting of the transform must be one of {known}. Received: {sorted(unknown)}.")
        return cls(**given)
