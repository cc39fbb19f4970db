"""What the features of key and context add to the vector that asks for items."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from trainer.features.declaration import MISSING, OF_WORDS, UNKNOWN, Feature
from trainer.keras2 import keras, tf
from trainer.models.base import TableSizes
from trainer.models.feature_vectors import NumberCurve, WordVectors

QUERY_ATTRIBUTE = "query_features"  # of the model: how the paths of all variables of the tower begin


def query_path_of(feature: Feature) -> str:
    """How the paths of the variables of one feature begin."""
    return f"{QUERY_ATTRIBUTE}/of/{feature.name}/"


def is_of_query_tower(path: str) -> bool:
    """Whether the variable at `path` is of such a tower, of the model or of a part of it."""
    return f"/{QUERY_ATTRIBUTE}/" in f"/{path}"


def asked_in(paths: Collection[str], features: Sequence[Feature]) -> list[Feature]:
    """Those of `features` that a model with variables at `paths` has a part for."""
    return [of for of in features if any(f"/{query_path_of(of)}" in f"/{path}" for path in paths)]


class QueryTower(keras.layers.Layer):
    """q = q(key, history) + g(features), g being the sum of what each feature adds, zero at first.

    Through the product with item vectors g shifts which items are liked, not how much all are. (Covington, Adams and
    Sargin, "Deep neural networks for YouTube recommendations", RecSys 2016, section 3.3, give a retrieval model the
    same kinds of features of users and context, there at the input of a network.)

    Args:
      features: of key and context, of kinds in `OF_WORDS` or `OF_NUMBERS`.
      sizes: rows of the tables of words.
      width: of the vector.
    """

    def __init__(self, features: Sequence[Feature], sizes: TableSizes, width: int) -> None:
        super().__init__(dtype="float32")
        self.of = {
            feature.name: (
                WordVectors(sizes.rows(feature.vocabulary), width) if feature.kind in OF_WORDS else NumberCurve(width)
            )
            for feature in features
        }
        self._features = tuple(features)

    @property
    def tables(self) -> dict[str, str]:
        """As `Recommender.tables`, with the vocabularies of words."""
        words = (feature for feature in self._features if feature.kind in OF_WORDS)
        return {f"{query_path_of(feature)}vectors": feature.vocabulary for feature in words}

    def set_knots(self, knots: Mapping[str, np.ndarray]) -> None:
        """Takes what a number's scale is cut by, by feature; of those that there are none move."""
        for name, layer in self.of.items():
            if isinstance(layer, NumberCurve):
                layer.set_knots(knots[name])

    def call(self, key: Any) -> tf.Tensor:
        """float32 [..., width], the sum of `parts`."""
        return functools.reduce(tf.add, self.parts(key))  # some may be of all events alike

    def parts(self, key: Any) -> list[tf.Tensor]:
        """What each feature adds, float32 [..., width], by what comes with a key (see `query_values`).

        What does not come is missing, and so is what comes of another kind, from before the feature was declared anew.
        The shape is that of the values; without any, as of rows alone, [1, width].
        """
        values = key if isinstance(key, Mapping) else {}
        parts = []
        for feature in self._features:
            layer, value = self.of[feature.name], values.get(feature.vocabulary)
            if value is not None and value.dtype.is_floating != isinstance(layer, NumberCurve):
                value = None
            if isinstance(layer, NumberCurve):
                parts.append(layer.at(tf.constant([np.nan], tf.float32) if value is None else value))
            else:
                rows = tf.constant([[MISSING]], tf.int64) if value is None else value
                # A word that came into the vocabulary after this model was trained.
                parts.append(layer.mean(tf.where(rows < layer.vectors.shape[0], rows, UNKNOWN)))
        return parts


def masked(key: Any, mask: tf.Tensor) -> Any:
    """Those keys of a batch at which bool [b] `mask` holds."""
    if isinstance(key, Mapping):
        return {name: tf.boolean_mask(values, mask) for name, values in key.items()}
    return tf.boolean_mask(key, mask)
