"""When each item appeared, and what it has had since: what a launch prior is learned from."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer.features.declaration import ITEM, SINCE, WITHDRAWN
from trainer.vocabulary import Vocabulary

NEVER = -1


class Morning(NamedTuple):
    """What is known of each item before a span's events.

    Attributes:
      there: bool [items], whether it is sold, by the catalogue or because it has events.
      events: int64 [items] so far.
      age: int64 [items], spans since its first event, of an item without any since its first appearance.
    """

    there: np.ndarray
    events: np.ndarray
    age: np.ndarray


@dataclasses.dataclass(frozen=True)
class Launches:
    """By row of the item vocabulary, as of the end of a span.

    Attributes:
      since: int64 [items], the span of the first appearance in the catalogue; `NEVER` of an item that it never named.
      first: int64 [items], the span of the first event; `NEVER` without any.
      events: int64 [items], how many were learned from.
      sold: bool [items], False of a withdrawn item and of what is no item.
      span: the last span whose events are counted.
      half_life: spans after which an event counts half in `Recommender.set_popularity`.
      following: the span that is to be served.
    """

    since: np.ndarray
    first: np.ndarray
    events: np.ndarray
    sold: np.ndarray
    span: int
    half_life: float
    following: int

    @classmethod
    def of(cls, catalogue: pa.Table, items: Vocabulary, half_life: float) -> Launches:
        """What `catalogue` and the vocabulary of the same span say."""
        place = pc.index_in(items.ids, value_set=_whole(catalogue[ITEM]))
        since = pc.fill_null(_whole(catalogue[SINCE]).take(place), NEVER).to_numpy(zero_copy_only=False)
        withdrawn = pc.fill_null(_whole(catalogue[WITHDRAWN]).take(place), False)
        padding = np.full(items.first_row, NEVER)
        return cls(
            np.concatenate([padding, since]),
            np.concatenate([padding, np.where(items.counts > 0, items.first_span, NEVER)]),
            np.concatenate([0 * padding, items.counts]),
            np.concatenate([padding > 0, ~withdrawn.to_numpy(zero_copy_only=False)]),
            items.span,
            half_life,
            items.span + 1,
        )

    def known_by(self, before: Launches) -> Launches:
        """The same catalogue with the events of `before`, the span before: a morning on which nothing happened yet."""
        more = len(self.since) - len(before.since)
        first = np.pad(before.first, (0, more), constant_values=NEVER)
        events = np.pad(before.events, (0, more))
        return dataclasses.replace(self, first=first, events=events, span=before.span, following=self.span)

    def morning(self, span: int, later: np.ndarray | int = 0) -> Morning:
        """What is known before `span`; of `events`, `later`, int64 [items], came in it or after it."""
        events = np.maximum(self.events - later, 0)
        listed = (self.since != NEVER) & (self.since <= span)
        start = np.where(events > 0, self.first, self.since)
        return Morning(self.sold & (listed | (events > 0)), events, np.maximum(span - start, 0))

    def exposure(self, morning: Morning) -> np.ndarray:
        """How many spans each item has had to get its events in, float64 [items]; an older span counts less."""
        decay = 0.5 ** (1.0 / self.half_life)
        return (1.0 - decay**morning.age) / (1.0 - decay)

    @property
    def memory(self) -> float:
        """The exposure of what was always there."""
        return 1.0 / (1.0 - 0.5 ** (1.0 / self.half_life))


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays([pa.array([], column.type), *column.chunks])
