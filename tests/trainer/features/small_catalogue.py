"""A catalogue of a few items in rows that are easy to foretell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from trainer.features.declaration import Feature
from trainer.features.feature_state import FeatureState
from trainer.features.item_features import ItemFeatures, item_features
from trainer.models.base import TableSizes
from trainer.vocabulary import Vocabulary

FEATURES = (
    Feature(name="kind", kind="category"),
    Feature(name="tags", kind="categories", max_values=3),
    Feature(name="price", kind="number"),
)
_TYPES = {"kind": pa.string(), "tags": pa.list_(pa.string()), "price": pa.float64()}


def table(items: Mapping[str, Mapping[str, Any]], span: int = 1, features: Sequence[Feature] = FEATURES) -> pa.Table:
    """Items by id, each with the features it has and perhaps `withdrawn`, as `CatalogueGen` keeps them."""
    rows = list(items.values())
    columns = {
        "item": pa.array([name.encode() for name in items], pa.binary()),
        "since": pa.array([span] * len(rows), pa.int64()),
        "changed": pa.array([row.get("changed", span) for row in rows], pa.int64()),
        "withdrawn": pa.array([row.get("withdrawn", False) for row in rows], pa.bool_()),
    }
    for feature in features:
        columns[feature.name] = pa.array([row.get(feature.name) for row in rows], _TYPES[feature.name])
    return pa.table(columns)


def vocabulary(learned: Sequence[str], others: Sequence[str] = ()) -> Vocabulary:
    """Of items with events, then of those from the catalogue alone. Their first row is 2."""
    return Vocabulary.empty(1).grow(list(learned), 1, 1, 7.0).admit(list(others), 1)


def of_items(
    items: Vocabulary, catalogue: pa.Table, features: Sequence[Feature] = FEATURES, state: FeatureState | None = None
) -> ItemFeatures:
    state = state or FeatureState.load(None, features).grown(catalogue, features, 1, -1)
    return item_features(catalogue, items, state, features)


def sizes_of(items: Vocabulary, features: ItemFeatures, keys: int = 9) -> TableSizes:
    return TableSizes(items.size, keys, items.first_row, features.sizes)


def popularity_of(items: Vocabulary) -> np.ndarray:
    return np.concatenate([np.zeros(items.first_row), items.recent])
