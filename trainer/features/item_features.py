"""The features of all items by their rows: what a model is told of them before it learns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer.features.declaration import ITEM, OF_WORDS, Feature
from trainer.features.feature_state import FeatureState, as_numbers, word_rows
from trainer.features.item_vectors import Encoded, ItemVectors, item_vectors, matrix_of
from trainer.features.launches import Launches
from trainer.vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True)
class ItemFeatures:
    """Values by row of the item vocabulary; of what is no item, such as padding, there are none.

    Attributes:
      words: feature name to rows of its own vocabulary, int32 [items, slots], 0 behind.
      numbers: feature name to float32 [items]: NaN where it is missing, infinite where it can't be read, minus infinite
        where there is no item.
      knots: feature name to what a model that is new cuts the number's scale by (see `NumberStatistics.knots`).
      vectors: feature name to the vectors of texts and of what is a vector itself.
      learned: bool [items], whether the item has events to learn from.
      sizes: see `TableSizes.words`.
      launches: when each item appeared and what it has had; None for no launch prior.
    """

    words: Mapping[str, np.ndarray]
    numbers: Mapping[str, np.ndarray]
    knots: Mapping[str, np.ndarray]
    vectors: Mapping[str, ItemVectors]
    learned: np.ndarray
    sizes: tuple[tuple[str, int], ...]
    launches: Launches | None = None


def slots_of(feature: Feature) -> int:
    """How many words of one item the model holds."""
    return feature.max_values if feature.kind == "categories" else 1


def item_features(
    catalogue: pa.Table,
    items: Vocabulary,
    state: FeatureState,
    features: Sequence[Feature],
    encoded: Mapping[str, Encoded] | None = None,
    half_life: float | None = None,
) -> ItemFeatures:
    """What `catalogue` says of each row; all is missing of an item that it does not name.

    Args:
      catalogue: see `CatalogueGen`.
      items: says which row an item has.
      state: of `features`.
      features: those declared.
      encoded: by the name of each feature that is a text, what its encoder has made of all ids of `items`.
      half_life: of the vocabulary's counts; without it nothing is said of launches.
    """
    place = pc.index_in(items.ids, value_set=pa.concat_arrays([pa.array([], pa.binary()), *catalogue[ITEM].chunks]))
    words, numbers, knots, vectors = {}, {}, {}, {}
    for feature in features:
        if feature.kind == "text":
            vectors[feature.name] = item_vectors(feature, (encoded or {})[feature.name], items)
            continue
        values = catalogue[feature.name].combine_chunks()
        values = (pa.concat_arrays(values.chunks) if isinstance(values, pa.ChunkedArray) else values).take(place)
        if feature.kind in OF_WORDS:
            slots = slots_of(feature)
            rows = np.zeros((items.size, slots), np.int32)
            rows[items.first_row :] = word_rows(values, state.words[feature.name], slots)
            words[feature.name] = rows
        elif feature.kind == "vector":
            vectors[feature.name] = item_vectors(feature, matrix_of(values, feature), items)
        else:
            by_row = np.full(items.size, -np.inf, np.float32)
            by_row[items.first_row :] = as_numbers(values, feature)
            numbers[feature.name] = by_row
            knots[feature.name] = state.numbers[feature.name].knots()
    learned = np.concatenate([np.zeros(items.first_row, bool), items.counts > 0])
    widths = tuple((of.vocabulary, of.values.shape[1]) for of in vectors.values())
    launches = None if half_life is None else Launches.of(catalogue, items, half_life)
    return ItemFeatures(words, numbers, knots, vectors, learned, (*state.sizes(features), *widths), launches)
