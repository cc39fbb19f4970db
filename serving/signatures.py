"""The questions a served model answers: raw ids and strings in, ids and scores out.

Only TensorFlow's own operations are used, so that the stock TF Serving image loads the result.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import tensorflow as tf

UNAVAILABLE = -1e30  # below it a score stands for "no item"; finite, because JSON has no infinity


class Servable(Protocol):
    """What a trained model must answer, over rows of its vocabularies."""

    history_length: int

    @property
    def variables(self) -> Sequence[tf.Variable]: ...

    def score_all(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor: ...

    def score(self, key: tf.Tensor, history: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor: ...

    def evaluate_positions(
        self, key: tf.Tensor, history: tf.Tensor, item: tf.Tensor, weight: tf.Tensor, k: int, exclude_seen: bool
    ) -> dict[str, tf.Tensor]: ...


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """The ids behind the rows. `items` and `keys` start at row `first_row`; `titles` belongs to `items`."""

    items: Sequence[bytes]
    keys: Sequence[bytes]
    titles: Sequence[str]
    first_row: int


class IdTable:
    """Looks ids up in the graph, as `trainer.vocabulary` does outside it.

    The ids lie in a text asset, base64 a line, because an id may hold a newline.
    """

    def __init__(self, ids: Sequence[bytes], first_row: int, asset: Path) -> None:
        lines = (base64.urlsafe_b64encode(one).rstrip(b"=") for one in ids)
        # TensorFlow refuses an empty file; "!" is no base64, so that line is never found.
        asset.write_bytes(b"".join(line + b"\n" for line in lines) or b"!\n")
        self.asset = tf.saved_model.Asset(str(asset))
        self.first_row = first_row
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                self.asset.asset_path,
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            default_value=-1,
        )

    def rows(self, ids: tf.Tensor) -> tf.Tensor:
        """int64 rows of string ids of any shape; 0 for the empty string, which pads."""
        line = self.table.lookup(tf.io.encode_base64(ids))
        unknown = tf.strings.to_hash_bucket_fast(ids, self.first_row - 1) + 1
        row = tf.where(line >= 0, line + self.first_row, unknown)
        return tf.where(tf.strings.length(ids) > 0, row, tf.zeros_like(row))


class Signatures(tf.Module):
    """A model with its ids, ready to be saved: see `build`."""

    def __init__(
        self, model: Servable, catalogue: Catalogue, assets: Path, k: int, max_k: int, exclude_seen: bool
    ) -> None:
        super().__init__()
        self.parameters = list(model.variables)
        self.items = IdTable(catalogue.items, catalogue.first_row, assets / "items.txt")
        self.keys = IdTable(catalogue.keys, catalogue.first_row, assets / "keys.txt")
        self.tables = [self.items.table, self.items.asset, self.keys.table, self.keys.asset]
        nothing = [b""] * catalogue.first_row
        self.item_ids = tf.Variable([*nothing, *catalogue.items], trainable=False)
        self.titles = tf.Variable([*nothing, *(title.encode() for title in catalogue.titles)], trainable=False)
        # Behind a function: the saver follows attributes, and of the Keras model the graph needs the variables alone.
        self._model: Callable[[], Servable] = lambda: model
        self._k, self._max_k, self._exclude_seen = k, max_k, exclude_seen
        self._first_row, self._size = catalogue.first_row, catalogue.first_row + len(catalogue.items)

    def recommend(self, user_id: tf.Tensor, history: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best items for string [b] users with string [b, h] histories, oldest first, padded with ''.

        Returns:
          `item_ids` and `titles` string [b, n], `scores` float32 [b, n], best first, where n is max_k or, if that is
          less, the rows of the item table. '' and a score of -1e30 where there are fewer items than that.
        """
        seen = self.items.rows(history)
        scores = self._model().score_all(self.keys.rows(user_id), self._recent(seen))
        scores = self._mask(scores, seen)
        top = tf.math.top_k(scores, k=min(self._max_k, self._size))
        real = top.values > UNAVAILABLE
        return {
            "item_ids": tf.where(real, tf.gather(self.item_ids, top.indices), ""),
            "titles": tf.where(real, tf.gather(self.titles, top.indices), ""),
            "scores": top.values,
        }

    def rank(self, user_id: tf.Tensor, history: tf.Tensor, candidates: tf.Tensor) -> dict[str, tf.Tensor]:
        """Scores of string [b, c] candidates, float32 [b, c], higher is better; -1e30 for '' and for unknown items."""
        rows = self.items.rows(candidates)
        scores = self._model().score(self.keys.rows(user_id), self._recent(self.items.rows(history)), rows)
        return {"scores": tf.where(rows >= self._first_row, scores, UNAVAILABLE)}

    def evaluate(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """The metrics of string [b] serialised held-out positions, float32 [b, 1] each."""
        one = tf.io.FixedLenFeature([], tf.int64)
        parsed = tf.io.parse_example(
            examples,
            {
                "key_row": one,
                "item_row": one,
                "history": tf.io.RaggedFeature(tf.int64),
                "weight": tf.io.FixedLenFeature([], tf.float32),
            },
        )
        history = self._align(parsed["history"])
        metrics = self.evaluate_rows(parsed["key_row"], history, parsed["item_row"], parsed["weight"])
        return {name: value[:, None] for name, value in metrics.items()}

    @tf.function(  # a function of its own, so that `evaluate` calls this graph instead of holding a second one
        input_signature=[
            tf.TensorSpec([None], tf.int64, "key"),
            tf.TensorSpec([None, None], tf.int64, "history"),
            tf.TensorSpec([None], tf.int64, "item"),
            tf.TensorSpec([None], tf.float32, "weight"),
        ]
    )
    def evaluate_rows(
        self, key: tf.Tensor, history: tf.Tensor, item: tf.Tensor, weight: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """The metrics of positions given as rows: int64 [b], [b, h], [b], float32 [b]; float32 [b] each."""
        return self._model().evaluate_positions(key, history, item, weight, self._k, self._exclude_seen)

    def _recent(self, rows: tf.Tensor) -> tf.Tensor:
        return self._align(tf.ragged.boolean_mask(rows, rows > 0))

    def _align(self, history: tf.RaggedTensor) -> tf.Tensor:
        """The last `history_length` of each row, right-aligned, as the model saw them in training."""
        length = self._model().history_length
        newest_first = tf.reverse(history[:, -length:], axis=[1]).to_tensor(shape=[None, length])
        return tf.reverse(newest_first, axis=[1])

    def _mask(self, scores: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
        scores = tf.where((tf.range(self._size) >= self._first_row)[None, :], scores, UNAVAILABLE)
        if not self._exclude_seen:
            return scores
        owner = tf.broadcast_to(tf.range(tf.shape(seen, tf.int64)[0])[:, None], tf.shape(seen))
        at = tf.reshape(tf.stack([owner, seen], axis=-1), [-1, 2])
        return tf.tensor_scatter_nd_update(scores, at, tf.fill([tf.shape(at)[0]], UNAVAILABLE))

    def build(self) -> dict[str, Any]:
        """The signatures by name, as `tf.saved_model.save` takes them."""
        user = tf.TensorSpec([None], tf.string, "user_id")
        history = tf.TensorSpec([None, None], tf.string, "history")
        candidates = tf.TensorSpec([None, None], tf.string, "candidates")
        return {
            "serving_default": tf.function(self.recommend).get_concrete_function(user, history),
            "rank": tf.function(self.rank).get_concrete_function(user, history, candidates),
            "evaluate": tf.function(self.evaluate).get_concrete_function(tf.TensorSpec([None], tf.string, "examples")),
            "evaluate_rows": self.evaluate_rows.get_concrete_function(),
        }
