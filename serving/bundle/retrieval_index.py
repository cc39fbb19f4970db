"""From a key and a history to the best rows of the catalogue: by looking at all of it, or at a part."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
import tensorflow as tf

from serving.bundle.index_settings import IndexSettings
from serving.bundle.protocols import UNAVAILABLE, DotProduct, Servable
from serving.bundle.spherical_kmeans import cluster
from serving.bundle.top_k import best

Vectors = Literal["none", "part", "whole"]


class IndexSettingsError(ValueError):
    """The index that was asked for does not fit the model; the message says which does."""


class Index(Protocol):
    """Finds the best rows."""

    def top(self, key: tf.Tensor, history: tf.Tensor, hidden: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
        """The best `k` rows int64 [b, k], and their scores, best first; UNAVAILABLE where there are fewer.

        Args:
          key: int64 [b].
          history: int64 [b, history_length], 0 in front.
          hidden: int64 [b, e], rows that are left out; 0 for none.
          k: at most the rows of the item table.
        """
        ...

    def keep(self, new: np.ndarray) -> None:
        """Told before the first request which rows are new and can be recommended, bool [size]."""
        ...

    def top_new(self, key: tf.Tensor, history: tf.Tensor, hidden: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
        """As `top`, of the new rows alone."""
        ...


class ExactIndex:
    """Scores the whole catalogue. Of what is hidden the score is overwritten before the best are looked for."""

    def __init__(self, model: Servable, shown: np.ndarray) -> None:
        # Behind a function: the saver follows attributes, and of the Keras model the graph needs the variables alone.
        self._score_all = lambda key, history: model.score_all(key, history)
        self._size = len(shown)
        # A sum, where a choice between two would read and write twice as much. Nothing is left of a score beside 1e30.
        self._penalty = tf.Variable(np.where(shown, 0.0, UNAVAILABLE).astype(np.float32), trainable=False)

    def top(self, key: tf.Tensor, history: tf.Tensor, hidden: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
        return self._top(self._score_all(key, history) + self._penalty, hidden, k)

    def keep(self, new: np.ndarray) -> None:
        self._of_new = tf.Variable(np.where(new, 0.0, UNAVAILABLE).astype(np.float32), trainable=False)

    def top_new(self, key: tf.Tensor, history: tf.Tensor, hidden: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
        # The scores are those of `top`: the same operations on the same inputs run once.
        return self._top(self._score_all(key, history) + self._of_new, hidden, min(k, self._size))

    def _top(self, scores: tf.Tensor, hidden: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
        owner = tf.broadcast_to(tf.range(tf.shape(hidden, tf.int64)[0])[:, None], tf.shape(hidden))
        at = tf.reshape(tf.stack([owner, hidden], axis=-1), [-1, 2])
        scores = tf.tensor_scatter_nd_update(scores, at, tf.fill([tf.shape(at)[0]], UNAVAILABLE))
        return best(scores, self._size, k)


class ApproximateIndex:
    """Scores the items of the lists whose centres agree most with the query (an inverted file).

    Jégou, Douze and Schmid, "Product quantization for nearest neighbor search", TPAMI 33, 2011, section 4, there for
    distances; for products see `cluster`.
    """

    def __init__(self, product: DotProduct, shown: np.ndarray, lists: int | None, probes: int) -> None:
        rows = np.flatnonzero(shown)
        vectors = product.items.vectors(tf.constant(rows)).numpy()
        clusters = cluster(vectors, lists or max(1, round(4 * len(rows) ** 0.5)))
        self._query = product.query
        self._vectors = product.items.vectors
        self._centres = tf.Variable(clusters.centres, trainable=False, name="centres")
        self._starts = tf.Variable(clusters.starts, trainable=False, name="starts")
        self._members = tf.Variable(rows[clusters.order].astype(np.int32), trainable=False, name="members")
        self.lists = len(clusters.centres)
        self.probes = min(probes, self.lists)

    def top(self, key: tf.Tensor, history: tf.Tensor, hidden: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
        query = self._query(key, history)
        lists = tf.math.top_k(tf.matmul(query, self._centres, transpose_b=True), self.probes).indices
        first, last = tf.gather(self._starts, lists), tf.gather(self._starts, lists + 1)
        places = tf.ragged.range(tf.reshape(first, [-1]), tf.reshape(last, [-1]))
        rows = tf.cast(tf.gather(self._members, places.values), tf.int64)
        # The probed lists of a query lie side by side, so that their ends are the ends of its row.
        ends = tf.reduce_sum(last - first, axis=1)
        rows = tf.RaggedTensor.from_row_lengths(rows, ends, validate=False).to_tensor()
        # As many more as may have to be left out, so that what is left is what would have been found without those.
        more = k + tf.shape(hidden)[1]
        rows = tf.pad(rows, [[0, 0], [0, tf.maximum(more - tf.shape(rows)[1], 0)]])
        scores = tf.linalg.matvec(self._vectors(rows), query)
        scores = tf.where(rows > 0, scores, UNAVAILABLE)
        top = tf.math.top_k(scores, more)
        rows = tf.gather(rows, top.indices, batch_dims=1)
        return listed_best(rows, top.values, hidden, k)

    def keep(self, new: np.ndarray) -> None:
        # Row 0, which is no item, for as many places as there may be too few.
        self._new = tf.Variable(np.flatnonzero(new), trainable=False, name="new_rows")

    def top_new(self, key: tf.Tensor, history: tf.Tensor, hidden: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
        rows = tf.pad(self._new.read_value(), [[0, k]])
        scores = tf.matmul(self._query(key, history), self._vectors(rows), transpose_b=True)
        rows = tf.broadcast_to(rows, tf.shape(scores))
        return listed_best(rows, tf.where(rows > 0, scores, UNAVAILABLE), hidden, k)


def listed_best(rows: tf.Tensor, scores: tf.Tensor, hidden: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The best `k` of int64 [b, c] rows with their scores, c at least k, without those of [b, e] `hidden`."""
    gone = tf.reduce_any(rows[:, :, None] == hidden[:, None, :], axis=2)
    top = tf.math.top_k(tf.where(gone, UNAVAILABLE, scores), k)
    return tf.gather(rows, top.indices, batch_dims=1), top.values


def check_fits(settings: IndexSettings, vectors: Vectors, model: str) -> None:
    """Refuses an index that the model's scores have no room for.

    Args:
      settings: the index.
      vectors: whether the model's scores are the products of vectors: not at all, in part, or altogether.
      model: its name, for the message.

    Raises:
      IndexSettingsError: with a sentence that names the setting.
    """
    if settings.table != "float32" and vectors == "none":
        raise IndexSettingsError(
            f"`serving.index.table` can be {settings.table} only where scores come from item vectors. Received: model "
            f"{model}, whose scores do not. Set it to float32, or take a model like two_tower."
        )
    if settings.type == "approximate" and vectors != "whole":
        why = "are no dot product" if vectors == "none" else "add to a dot product what was counted"
        raise IndexSettingsError(
            f"`serving.index.type` can be approximate only where a score is one dot product. Received: model {model}, "
            f"whose scores {why}. Set it to exact, or take a model like two_tower."
        )


def describe(index: Any) -> dict[str, int]:
    """What is worth writing down of an index."""
    return {"lists": index.lists, "probes": index.probes} if isinstance(index, ApproximateIndex) else {}
