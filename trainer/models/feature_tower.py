"""What an item's features add to its vector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.features.declaration import OF_WORDS, Feature
from trainer.features.item_features import ItemFeatures, slots_of
from trainer.keras2 import keras, tf
from trainer.models.base import TableSizes
from trainer.models.feature_vectors import NumberCurve, WordVectors

ATTRIBUTE = "item_features"  # of the model: how the paths of all variables of a tower begin
LEARNED = f"{ATTRIBUTE}/learned"


def path_of(feature: Feature) -> str:
    """How the paths of the variables of one feature begin."""
    return _path(feature.name)


def _path(name: str) -> str:
    return f"{ATTRIBUTE}/of/{name}/"


class WordFeature(WordVectors):
    """The mean of the vectors of an item's words; "missing" and "unknown" have a vector each."""

    def __init__(self, items: int, slots: int, words: int, width: int) -> None:
        super().__init__(words, width)
        self.rows = self.add_weight("rows", [items, slots], tf.int32, "zeros", trainable=False)

    def call(self, item: tf.Tensor) -> tf.Tensor:
        """float32 [..., width] for int64 rows of items; zero of what is no item."""
        return self.mean(tf.gather(self.rows, item))


class NumberFeature(NumberCurve):
    """The curve of a number, at what each item has."""

    def __init__(self, items: int, width: int) -> None:
        super().__init__(width)
        none = keras.initializers.Constant(-np.inf)
        self.values = self.add_weight("values", [items], initializer=none, trainable=False)

    def call(self, item: tf.Tensor) -> tf.Tensor:
        """float32 [..., width] for int64 rows of items; zero of what is no item."""
        return self.at(tf.gather(self.values, item))


class FeatureTower(keras.layers.Layer):
    """v = [has events] * E[id] + f(features), f being the sum of what each feature adds, zero at first.

    An item without events has no id part: what was drawn for its row is noise. (Kula, "Metadata embeddings for user and
    item cold-start recommendations", CBRecSys 2015, section 3, is the sum of both for all items.)

    Args:
      features: of items, of kinds in `OF_WORDS` or `OF_NUMBERS`.
      sizes: rows of the item table, and of those of words.
      width: of an item's vector.
    """

    def __init__(self, features: Sequence[Feature], sizes: TableSizes, width: int) -> None:
        super().__init__()
        self.learned = self.add_weight("learned", [sizes.items], initializer="zeros", trainable=False)
        self.of = {
            feature.name: (
                WordFeature(sizes.items, slots_of(feature), sizes.rows(feature.vocabulary), width)
                if feature.kind in OF_WORDS
                else NumberFeature(sizes.items, width)
            )
            for feature in features
        }
        self._vocabularies = tuple((feature.name, feature.vocabulary) for feature in features)

    @property
    def tables(self) -> dict[str, str]:
        """As `Recommender.tables`, with the vocabularies of words."""
        tables = {LEARNED: "items"}
        for name, vocabulary in self._vocabularies:
            path = _path(name)
            if isinstance(self.of[name], WordFeature):
                tables |= {f"{path}rows": "items", f"{path}vectors": vocabulary}
            else:
                tables |= {f"{path}values": "items"}
        return tables

    def tell(self, features: ItemFeatures) -> None:
        """Takes what is known of each item. Knots that there are stay."""
        self.learned.assign(features.learned.astype(np.float32))
        for name, layer in self.of.items():
            if isinstance(layer, WordFeature):
                layer.rows.assign(features.words[name])
            else:
                layer.values.assign(features.numbers[name])
                layer.set_knots(features.knots[name])

    def call(self, item: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
        """The vectors of items, float32 [..., width], for their int64 rows and what is their `own`, [..., width]."""
        vectors = tf.gather(self.learned, item)[..., None] * own
        for layer in self.of.values():
            vectors += layer(item)
        return vectors
