"""What a day leaves behind for the days after it: counts by hash, of a bounded size whatever the day brought."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trainer.ids import hash_buckets

Codes = npt.NDArray[np.int64]

# A count has 2**22 places: at most 48 MB a count and day, and at 100,000 different pairs 2 % of them share a place.
PLACES = 2**22
_HASH_RANGE = 2**62
_MANY = PLACES // 32  # from here on a table of all places is cheaper than to sort and to search


@dataclasses.dataclass(frozen=True)
class Counts:
    """How often each hash was seen: `places` int64 [m], ascending and below `PLACES`, and `counts` int64 [m]."""

    places: Codes
    counts: Codes

    @classmethod
    def of(cls, hashes: Codes, counts: Codes | None = None) -> Counts:
        """Counts `hashes` int64 [n], once each or as often as `counts` [n] says."""
        if len(hashes) > _MANY:
            table = np.bincount(hashes % PLACES, counts, PLACES)
            places = np.flatnonzero(table)
            return cls(places, table[places].astype(np.int64))
        places, inverse = np.unique(hashes % PLACES, return_inverse=True)
        if counts is None:
            return cls(places, np.bincount(inverse, minlength=len(places)))
        return cls(places, np.bincount(inverse, counts, len(places)).astype(np.int64))

    @classmethod
    def sum(cls, parts: Iterable[Counts]) -> Counts:
        """All of `parts` together."""
        parts = [NOTHING, *parts]
        if sum(len(part.places) for part in parts) > _MANY:
            table = np.zeros(PLACES, np.int32)
            for part in parts:
                table[part.places] += part.counts.astype(np.int32)
            places = np.flatnonzero(table)
            return cls(places, table[places].astype(np.int64))
        return cls.of(np.concatenate([part.places for part in parts]), np.concatenate([part.counts for part in parts]))

    def __getitem__(self, hashes: Codes) -> Codes:
        """How often each of `hashes` was counted, int64 [n]; 0 where never."""
        if not len(self.places):
            return np.zeros(len(hashes), np.int64)
        wanted = hashes % PLACES
        if len(self.places) > _MANY:
            return self._table[wanted].astype(np.int64)
        at = np.minimum(np.searchsorted(self.places, wanted), len(self.places) - 1)
        return np.where(self.places[at] == wanted, self.counts[at], 0)

    def shares_with(self, other: Counts) -> float:
        """The share of the places that `other` has too."""
        return float(np.isin(self.places, other.places, assume_unique=True).mean())

    @functools.cached_property
    def _table(self) -> npt.NDArray[np.int32]:
        table = np.zeros(PLACES, np.int32)
        table[self.places] = self.counts
        return table

    @property
    def total(self) -> int:
        return int(self.counts.sum())


NOTHING = Counts(np.zeros(0, np.int64), np.zeros(0, np.int64))


def hashes_of(values: pa.Array) -> tuple[Codes, Codes]:
    """The different values' hashes int64 [m], the same on every machine, and the number of each value's own [n]."""
    encoded = values.dictionary_encode()
    hashes = hash_buckets(encoded.dictionary.cast(pa.binary()), _HASH_RANGE).astype(np.int64)
    return hashes, encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def paired(first: Codes, second: Codes) -> Codes:
    """A hash, int64 [n], of each ordered pair of hashes."""
    a, b = first.view(np.uint64), second.view(np.uint64)
    mixed = (a * np.uint64(0x9E3779B97F4A7C15)) ^ (b + np.uint64(0x632BE59BD9B4E019))
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return ((mixed ^ (mixed >> np.uint64(32))) >> np.uint64(2)).view(np.int64)
