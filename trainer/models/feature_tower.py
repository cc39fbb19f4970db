"""What an item's features add to its vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from trainer.features.declaration import MISSING, OF_VECTORS, OF_WORDS, Feature
from trainer.features.item_features import ItemFeatures, slots_of
from trainer.features.item_vectors import ItemVectors, column_of, feature_of
from trainer.features.launches import Launches
from trainer.keras2 import keras, tf
from trainer.models.base import TableSizes
from trainer.models.feature_vectors import NumberCurve, WordVectors
from trainer.models.launch_prior import LaunchPrior, kinds_of_numbers, kinds_of_words
from trainer.precision import compute_dtype, matmul
from trainer.replicas import copies
from trainer.train_state import ModelState

ATTRIBUTE = "item_features"  # of the model: how the paths of all variables of a tower begin
LEARNED = f"{ATTRIBUTE}/learned"
LAUNCHES = f"{ATTRIBUTE}/launches/"
_ROWS = 65_536  # that are worked out together


def path_of(name: str) -> str:
    """How the paths of the variables of one feature, or of one column of a text's vectors, begin in a tower's model."""
    return f"{ATTRIBUTE}/of/{name}/"


def is_of(path: str, name: str) -> bool:
    """Whether the variable at `path` is of that feature or column, in the model or in a part of it."""
    return f"/{path_of(name)}" in f"/{path}"


def is_of_tower(path: str) -> bool:
    """Whether the variable at `path` is a tower's, of the model or of a part of it."""
    return f"/{ATTRIBUTE}/" in f"/{path}"


def learned_before(weights: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Which items had events, float32 [items], by a model's weights; None of a model without a tower."""
    return next((value for path, value in weights.items() if f"/{path}".endswith(f"/{LEARNED}")), None)


def declared_in(state: ModelState, features: Sequence[Feature]) -> list[Feature] | None:
    """Those of `features` that a saved state has variables of; None of a model without a tower."""
    if learned_before(state.weights) is None:
        return None
    return [
        feature
        for feature in features
        if (
            column_of(feature, state.sizes.words) is not None
            if feature.kind == "text"
            else any(is_of(path, feature.name) for path in state.weights)
        )
    ]


def settle(model: keras.Model) -> None:
    """Has every layer write down what a saved state needs of vectors that are not in it; before one is taken."""
    for layer in model.submodules:
        if isinstance(layer, VectorFeature):
            layer.settle()


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


class _Told:
    """What a layer was told, apart from its variables: Keras follows no attributes of a plain object."""

    values: tf.Variable | None = None


class VectorFeature(keras.layers.Layer):
    """A projection of an item's vector, learned from zero; "missing" has a vector of its own.

    The vectors themselves, of the encoder's width, are no variable of the model: each span tells them anew, and what a
    saved state holds is what came of them (`content`). A model that is built from one answers from that.
    """

    def __init__(self, items: int, given: int, width: int) -> None:
        super().__init__(dtype="float32")
        self.codes = self.add_weight("codes", [items], tf.int32, "zeros", trainable=False)
        self.content = self.add_weight("content", [items, width], initializer="zeros", trainable=False)
        self.projection = self.add_weight("projection", [given, width], initializer="zeros")
        self.absent = self.add_weight("absent", [width], initializer="zeros")
        self._told, self._given, self._low = _Told(), given, compute_dtype()

    def tell(self, vectors: ItemVectors) -> None:
        self.codes.assign(vectors.codes)
        if self._told.values is None:
            self._told.values = tf.Variable(vectors.values, trainable=False, name="vectors")
        self._told.values.assign(vectors.values)

    def settle(self) -> None:
        """Works out `content`, in float32 whatever the layer computes in."""
        rows = int(self.content.shape[0])
        for start in range(0, rows if self._told.values is not None else 0, _ROWS):
            row = tf.range(start, min(start + _ROWS, rows), dtype=tf.int64)
            vectors = self._told_of(row, tf.float32)
            for each in copies(self.content):
                each.scatter_nd_update(row[:, None], vectors)

    def call(self, item: tf.Tensor) -> tf.Tensor:
        """float32 [..., width] for int64 rows of items; zero of what is no item."""
        if self._told.values is None:
            return tf.gather(self.content, item)
        return self._told_of(item, self._low)

    def _told_of(self, item: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        code = tf.gather(self.codes, item)[..., None]
        # A first step of Adagrad or Adam moves each weight by the rate, whatever the gradient, so that what is added
        # moves by that times the sum of the numbers, up to the root of their count; what a word adds by the rate.
        vectors = tf.cast(tf.gather(self._told.values, item), tf.float32) * self._given**-0.5
        return matmul(vectors, self.projection, dtype) + tf.where(code == MISSING, self.absent, 0.0)


class FeatureTower(keras.layers.Layer):
    """v = [has events] * E[id] + f(features), f being the sum of what each feature adds, zero at first.

    An item without events has no id part: what was drawn for its row is noise. (Kula, "Metadata embeddings for user and
    item cold-start recommendations", CBRecSys 2015, section 3, is the sum of both for all items.)

    Args:
      features: of items, of kinds in `OF_ITEMS`.
      sizes: rows of the item table, and of those of words; of a text also which column its vectors are.
      width: of an item's vector.
      launch_prior: whether there is a `LaunchPrior`.
    """

    def __init__(self, features: Sequence[Feature], sizes: TableSizes, width: int, launch_prior: bool = False) -> None:
        super().__init__(dtype="float32")
        self.learned = self.add_weight("learned", [sizes.items], initializer="zeros", trainable=False)
        self.of: dict[str, WordFeature | NumberFeature | VectorFeature] = {}
        for feature in features:
            if feature.kind in OF_WORDS:
                rows = sizes.rows(feature.vocabulary)
                self.of[feature.name] = WordFeature(sizes.items, slots_of(feature), rows, width)
            elif feature.kind in OF_VECTORS:
                given = column_of(feature, sizes.words)
                assert given is not None, f"no vectors of {feature.name}"
                # By the column: what was learned of one encoder's vectors says nothing of another's.
                self.of[given[0]] = VectorFeature(sizes.items, given[1], width)
            else:
                self.of[feature.name] = NumberFeature(sizes.items, width)
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
        for name, layer in self.of.items():
            path = path_of(name)
            if isinstance(layer, WordFeature):
                tables |= {f"{path}rows": "items", f"{path}vectors": f"feature_{name}"}
            elif isinstance(layer, VectorFeature):
                tables |= {f"{path}codes": "items", f"{path}content": "items"}
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
        vectors = {of.column: of for of in features.vectors.values()}
        for name, layer in self.of.items():
            if isinstance(layer, WordFeature):
                layer.rows.assign(features.words[name])
            elif isinstance(layer, VectorFeature):
                layer.tell(vectors[name])
            else:
                layer.values.assign(features.numbers[name])
                layer.set_knots(features.knots[name])

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
        return tf.add_n(self.parts(item, own))

    def parts(self, item: tf.Tensor, own: tf.Tensor) -> list[tf.Tensor]:
        """What `call` is the sum of: what is left of the items' own, then what each feature adds."""
        return [tf.gather(self.learned, item)[..., None] * own, *(layer(item) for layer in self.of.values())]

    def products(self, query: tf.Tensor, item: tf.Tensor, own: tf.Tensor) -> dict[str, float]:
        """Of float32 [width] `query` with each of `parts` of one item, int64 [1], by the name of the feature."""
        names = ["its id", *(feature_of(name) for name in self.of)]
        parts = self.parts(item, own)
        return {name: float(tf.reduce_sum(query * part[0])) for name, part in zip(names, parts, strict=True)}
