"""What the transform can be told."""

from __future__ import annotations

import dataclasses

from components.json_parameter import JsonParameter
from trainer.features.declaration import Feature


@dataclasses.dataclass(frozen=True)
class Settings(JsonParameter):
    """The transform's settings, as one JSON string among the component's execution parameters.

    Attributes:
      length: Longest sequence, in events, and how many trained events of a key are kept.
      oov_rows: Rows shared by the ids without a row of their own.
      item_min_count: Events an item needs for a row of its own.
      key_min_count: Events a key needs for a row of its own.
      half_life_spans: Spans after which an event counts half in the vocabulary's `recent`.
      cold_below: An id trained on less often than this is in the slice `cold`.
      verdict_share: Share of the held-out events that judge a candidate, by key; the others choose epochs.
      features: Features of items; None for none.
      query_features: Features of key and context; None for none.
      keys_end_after: Hours without an event after which a key is over; None for never.
      item_max_age, key_max_age: Spans since its last event after which an id loses its row; None for never.
      max_items, max_keys: Ids that have a row; None for any number.
      rows_per_shard: About how many events, those of the history included, one shard may hold.
    """

    length: int
    oov_rows: int
    item_min_count: int
    key_min_count: int
    half_life_spans: float
    cold_below: int
    verdict_share: float
    rows_per_shard: int = 1_000_000
    features: tuple[Feature, ...] | None = None
    query_features: tuple[Feature, ...] | None = None
    keys_end_after: float | None = None
    item_max_age: int | None = None
    key_max_age: int | None = None
    max_items: int | None = None
    max_keys: int | None = None
