"""What is known of features from day to day: a vocabulary of words, or running statistics of numbers, of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer.features.declaration import (
    CHANGED,
    FIRST_ROW,
    MISSING,
    OF_NUMBERS,
    OF_WORDS,
    UNKNOWN,
    WITHDRAWN,
    Feature,
)
from trainer.features.number_statistics import NumberStatistics
from trainer.vocabulary import Vocabulary

_SHARED = FIRST_ROW - 1  # rows before those of words: the ones for "missing" and "unknown"
_DAY = 86_400_000.0  # milliseconds


@dataclasses.dataclass(frozen=True)
class FeatureState:
    """The state of all declared features; `grown` gives that of the next day. Texts and vectors have none.

    Attributes:
      words: feature name to its vocabulary, of which row 1 is for "missing" and row 2 for "unknown".
      numbers: feature name to its statistics.
    """

    words: Mapping[str, Vocabulary]
    numbers: Mapping[str, NumberStatistics]

    @classmethod
    def load(cls, folder: str | Path | None, features: Sequence[Feature]) -> FeatureState:
        """Reads what `save` wrote; of None, and of a feature that is new, an empty state."""
        words, numbers = {}, {}
        for feature in features:
            path = None if folder is None else Path(folder) / feature.vocabulary
            if feature.kind in OF_WORDS:
                there = path is not None and path.with_suffix(".parquet").exists()
                words[feature.name] = (
                    Vocabulary.load(folder, feature.vocabulary)  # type: ignore[arg-type]
                    if there
                    else Vocabulary.empty(_SHARED)
                )
            elif feature.kind in OF_NUMBERS:
                numbers[feature.name] = (
                    NumberStatistics.empty() if path is None else NumberStatistics.load(path.with_suffix(".json"))
                )
        return cls(words, numbers)

    def save(self, folder: str | Path, features: Sequence[Feature]) -> None:
        """Writes `feature_<name>.parquet`, or `.json`, into the existing `folder`."""
        for feature in features:
            if feature.kind in OF_WORDS:
                self.words[feature.name].save(folder, feature.vocabulary)
            elif feature.kind in OF_NUMBERS:
                self.numbers[feature.name].save((Path(folder) / feature.vocabulary).with_suffix(".json"))

    def grown(self, catalogue: pa.Table, features: Sequence[Feature], span: int, after: int) -> FeatureState:
        """The state after a span.

        A word gets its row once `min_count` of the items that are sold have it, for good. Statistics take in the values
        of items that are new or other than before since the span `after`.
        """
        sold = catalogue.filter(pc.invert(catalogue[WITHDRAWN]))
        words, numbers = dict(self.words), dict(self.numbers)
        for feature in features:
            if feature.kind in OF_WORDS:
                words[feature.name] = words[feature.name].admit(_frequent(sold[feature.name], feature), span)
            elif feature.kind in OF_NUMBERS:
                statistics = numbers[feature.name]
                # Of a feature that is new all values are.
                new = sold if not len(statistics.values) else sold.filter(pc.greater(sold[CHANGED], after))
                numbers[feature.name] = statistics.add(as_numbers(new[feature.name], feature))
        return FeatureState(words, numbers)

    def sizes(self, features: Sequence[Feature]) -> tuple[tuple[str, int], ...]:
        """Rows of the tables of words, by the names of their vocabularies."""
        return tuple((of.vocabulary, self.words[of.name].size) for of in features if of.kind in OF_WORDS)


def word_rows(values: pa.Array, vocabulary: Vocabulary, slots: int) -> np.ndarray:
    """Rows of words, or of lists of words, int32 [n, slots], 0 behind; the one of "missing" for null."""
    lists = pa.types.is_list(values.type)
    words = values.flatten() if lists else values.drop_null()
    lengths = pc.fill_null(pc.list_value_length(values), 0) if lists else values.is_valid().cast(pa.int32())
    counts = np.minimum(lengths.to_numpy(zero_copy_only=False), slots)
    begin = np.cumsum(lengths.to_numpy(zero_copy_only=False)) - lengths.to_numpy(zero_copy_only=False)
    found_rows = vocabulary.rows_of(words, UNKNOWN)
    rows = np.zeros((len(values), slots), np.int32)
    place = np.arange(slots)
    there = place < counts[:, None]
    rows[there] = found_rows[(begin[:, None] + place)[there]]
    rows[counts == 0, 0] = MISSING
    return rows


def as_numbers(values: pa.Array | pa.ChunkedArray, feature: Feature) -> np.ndarray:
    """What is learned of numbers, float64 [n]: a time in days. NaN where it is missing, infinite where unknown."""
    missing = pc.is_null(values).to_numpy(zero_copy_only=False) if isinstance(values, pa.Array) else None
    missing = pc.is_null(values).to_numpy() if missing is None else missing
    numbers = np.array(values.fill_null(0.0), np.float64) / (_DAY if feature.kind == "time" else 1.0)
    return np.where(missing, np.nan, np.where(np.isnan(numbers), np.inf, numbers))


def _frequent(values: pa.ChunkedArray, feature: Feature) -> pa.Array:
    """Words that enough items have, in the order in which they first occur."""
    lists = pa.types.is_list(values.type)
    words = pa.concat_arrays(
        [chunk.flatten() if lists else chunk for chunk in values.chunks] or [pa.array([], pa.string())]
    )
    encoded = words.drop_null().dictionary_encode()
    counts = np.bincount(encoded.indices.to_numpy(zero_copy_only=False), minlength=len(encoded.dictionary))
    return encoded.dictionary.filter(pa.array(counts >= feature.min_count))
