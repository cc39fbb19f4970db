"""What an item's features add to its vector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.features.declaration import FIRST_ROW, MISSING, OF_WORDS, PADDING, UNKNOWN, Feature
from trainer.features.item_features import ItemFeatures, slots_of
from trainer.features.launches import Launches
from trainer.features.number_statistics import KNOTS
from trainer.keras2 import keras, tf
from trainer.models.base import TableSizes
from trainer.models.launch_prior import LaunchPrior, kinds_of_numbers, kinds_of_words

ATTRIBUTE = "item_features"  # of the model: how the paths of all variables of a tower begin
LEARNED = f"{ATTRIBUTE}/learned"
LAUNCHES = f"{ATTRIBUTE}/launches/"


def path_of(feature: Feature) -> str:
    """How the paths of the variables of one feature begin."""
    return _path(feature.name)


def _path(name: str) -> str:
    return f"{ATTRIBUTE}/of/{name}/"


class WordFeature(keras.layers.Layer):
    """The mean of the vectors of an item's words; "missing" and "unknown" have a vector each."""

    def __init__(self, items: int, slots: int, words: int, width: int) -> None:
        super().__init__()
        self.rows = self.add_weight("rows", [items, slots], tf.int32, "zeros", trainable=False)
        self.vectors = self.add_weight("vectors", [words, width], initializer="zeros")

    def call(self, item: tf.Tensor) -> tf.Tensor:
        """float32 [..., width] for int64 rows of items; zero of what is no item."""
        rows = tf.gather(self.rows, item)
        present = tf.cast(rows != PADDING, tf.float32)
        # A slot after the other: all at once would be as many times the memory, for a whole catalogue.
        slots = zip(tf.unstack(rows, axis=-1), tf.unstack(present, axis=-1), strict=True)
        total = tf.add_n([tf.gather(self.vectors, row) * there[..., None] for row, there in slots])
        return tf.math.divide_no_nan(total, tf.reduce_sum(present, axis=-1, keepdims=True))


class NumberFeature(keras.layers.Layer):
    """A curve through a vector at each knot: straight between two of them, level beyond the ends.

    Gorishniy, Rubachev and Babenko, "On embeddings for numerical features in tabular deep learning", NeurIPS 2022,
    section 3.2, with quantiles as knots. They stay as long as the model does, whatever later days bring: what a vector
    was learned for is what it stands for.
    """

    def __init__(self, items: int, width: int) -> None:
        super().__init__()
        nothing = keras.initializers.Constant(-np.inf)
        self.values = self.add_weight("values", [items], initializer=nothing, trainable=False)
        self.knots = self.add_weight("knots", [KNOTS], initializer=keras.initializers.Constant(np.nan), trainable=False)
        self.vectors = self.add_weight("vectors", [FIRST_ROW + KNOTS, width], initializer="zeros")

    def call(self, item: tf.Tensor) -> tf.Tensor:
        """float32 [..., width] for int64 rows of items; zero of what is no item."""
        shape = tf.shape(item)
        value = tf.gather(self.values, tf.reshape(item, [-1]))
        finite = tf.math.is_finite(value)
        # Before there is any value there are no knots, and all that comes is the same.
        knots = tf.where(tf.math.is_nan(self.knots), tf.zeros_like(self.knots), self.knots)
        within = tf.maximum(tf.where(finite, value, 0.0), knots[0])
        left = tf.clip_by_value(tf.searchsorted(knots, within, side="right") - 1, 0, KNOTS - 2)
        begin, end = tf.gather(knots, left), tf.gather(knots, left + 1)
        share = tf.clip_by_value(tf.math.divide_no_nan(within - begin, end - begin), 0.0, 1.0)[:, None]
        code = tf.where(tf.math.is_nan(value), MISSING, tf.where(value > 0, UNKNOWN, PADDING))
        first = tf.gather(self.vectors, tf.where(finite, FIRST_ROW + left, code))
        second = tf.gather(self.vectors, tf.where(finite, FIRST_ROW + left + 1, code))
        there = tf.cast(finite | (code != PADDING), tf.float32)[:, None]
        vectors = there * ((1.0 - share) * first + share * second)
        return tf.reshape(vectors, tf.concat([shape, tf.shape(vectors)[1:]], axis=0))


class FeatureTower(keras.layers.Layer):
    """v = [has events] * E[id] + f(features), f being the sum of what each feature adds, zero at first.

    An item without events has no id part: what was drawn for its row is noise. (Kula, "Metadata embeddings for user and
    item cold-start recommendations", CBRecSys 2015, section 3, is the sum of both for all items.)

    Args:
      features: of items, of kinds in `OF_WORDS` or `OF_NUMBERS`.
      sizes: rows of the item table, and of those of words.
      width: of an item's vector.
      launch_prior: whether there is a `LaunchPrior`.
    """

    def __init__(self, features: Sequence[Feature], sizes: TableSizes, width: int, launch_prior: bool = False) -> None:
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
        weights = {
            name: int(layer.vectors.shape[0])
            for name, layer in self.of.items()
            if isinstance(layer, (WordFeature, NumberFeature))
        }
        self.launches = LaunchPrior(sizes.items, weights) if launch_prior else None

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
        if self.launches is not None:
            tables |= {f"{LAUNCHES}scale": "items", f"{LAUNCHES}expected": "items"}
            words = [name for name, layer in self.of.items() if isinstance(layer, WordFeature)]
            tables |= {f"{LAUNCHES}of_{name}": f"feature_{name}" for name in words}
        return tables

    def tell(self, features: ItemFeatures) -> None:
        """Takes what is known of each item. Knots that there are stay."""
        self.learned.assign(features.learned.astype(np.float32))
        for name, layer in self.of.items():
            if isinstance(layer, WordFeature):
                layer.rows.assign(features.words[name])
            else:
                layer.values.assign(features.numbers[name])
                if np.isnan(layer.knots.numpy()).all():
                    layer.knots.assign(features.knots[name])

    def learn_launches(self, launches: Launches, spans: Sequence[tuple[int, np.ndarray]]) -> None:
        """See `LaunchPrior.learn`; nothing without one."""
        if self.launches is None:
            return
        kinds = []
        for name in self.launches.of:
            layer = self.of[name]
            if isinstance(layer, WordFeature):
                kinds.append(kinds_of_words(layer.rows.numpy(), int(layer.vectors.shape[0])))
            else:
                kinds.append(kinds_of_numbers(layer.values.numpy(), layer.knots.numpy()))
        self.launches.learn(launches, spans, kinds)

    def call(self, item: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
        """The vectors of items, float32 [..., width], for their int64 rows and what is their `own`, [..., width]."""
        vectors = tf.gather(self.learned, item)[..., None] * own
        for layer in self.of.values():
            vectors += layer(item)
        return vectors
