"""The questions a served model answers: raw ids and strings in, ids and scores out.

Only TensorFlow's own operations are used, so that the stock TF Serving image loads the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from serving.bundle.id_lookup import IdTable
from serving.bundle.index_settings import IndexSettings
from serving.bundle.kept_places import KeptPlaces, served
from serving.bundle.numbered_rows import NumberedRows
from serving.bundle.packed_table import PackedTable
from serving.bundle.protocols import UNAVAILABLE, Catalogue, Servable
from serving.bundle.quantization import served_table
from serving.bundle.query_inputs import ROW, QueryInputs, RequestFeature
from serving.bundle.retrieval_index import ApproximateIndex, ExactIndex, check_fits, listed_best

_USER = tf.TensorSpec([None], tf.string, "user_id")
_HISTORY = tf.TensorSpec([None, None], tf.string, "history")
_EXCLUDE = tf.TensorSpec([None, None], tf.string, "exclude")
_CANDIDATES = tf.TensorSpec([None, None], tf.string, "candidates")
_ITEMS = tf.TensorSpec([None, None], tf.string, "items")
_K = tf.TensorSpec([None], tf.int32, "k")
_FEATURES = tf.TensorSpec([None, None, 2], tf.string, "features")
_POSITION = (
    tf.TensorSpec([None], tf.int64, "key"),
    tf.TensorSpec([None, None], tf.int64, "history"),
    tf.TensorSpec([None], tf.int64, "item"),
    tf.TensorSpec([None], tf.float32, "weight"),
)
IN_CONTEXT = "_in_context"  # how the names of signatures end that take features as well


class Signatures(tf.Module):
    """A frozen model with its ids, ready to be saved: see `build`."""

    def __init__(
        self,
        model: Servable,
        catalogue: Catalogue,
        k: int,
        max_k: int,
        exclude_seen: bool,
        index: IndexSettings | None = None,
        model_name: str = "",
        query_features: Sequence[RequestFeature] = (),
        kept: KeptPlaces | None = None,
    ) -> None:
        """Prepares the graph's tables.

        Args:
          model: frozen; its table of items is put into the precision of `index` and pruned, in place.
          catalogue: the ids behind its rows.
          k: cut-off of the `evaluate` metrics.
          max_k: most items that a request can get.
          exclude_seen: whether the history's items are left out.
          index: how items are found; None for exactly.
          model_name: for messages.
          query_features: of users and requests, which the model learned from.
          kept: places for new items; None for none.

        Raises:
          IndexSettingsError: the model's scores have no room for that index.
        """
        super().__init__()
        settings = index or IndexSettings()
        product = model.dot_product
        check_fits(settings, "none" if product is None else "whole" if product.whole else "part", model_name)
        if product is not None and (table := served_table(product.items.embeddings, settings)) is not None:
            product.items.table = table
            # What no signature reads, but the table is made of at load, is saved because it hangs here.
            self.packed = table.values if isinstance(table.values, PackedTable) else None
        self.items = IdTable(catalogue.items, catalogue.first_row)
        self.keys = IdTable(catalogue.keys, catalogue.first_row) if _asks_for_keys(model) else None
        numbers = (catalogue.item_numbers, catalogue.key_numbers)
        self.item_numbers, self.key_numbers = (
            None if of is None else NumberedRows(catalogue.first_row, of) for of in numbers
        )
        nothing = [b""] * catalogue.first_row
        self.columns = {
            name: tf.Variable([*nothing, *(text.encode() for text in texts)], trainable=False, dtype=tf.string)
            for name, texts in catalogue.columns.items()
        }
        self._shown = tf.Variable(catalogue.shown, trainable=False)
        # Behind functions: the saver follows attributes, and of the model the graph needs what it asks for alone.
        self._model: Callable[[], Servable] = lambda: model
        made: Any = (
            ExactIndex(model, catalogue.shown)
            if settings.type == "exact" or product is None
            else ApproximateIndex(product, catalogue.shown, settings.lists, settings.probes or 1)
        )
        self._index: Callable[[], Any] = lambda: made
        self.query_inputs = QueryInputs(query_features)
        # A function of its own, so that `evaluate` calls this graph instead of holding a second one.
        self.evaluate_rows = tf.function(
            self._evaluate_rows, input_signature=[*_POSITION, *self.query_inputs.specs], autograph=False
        )
        self._k, self._exclude_seen = k, exclude_seen
        self._kept = None if kept is None else (kept.places, min(kept.k, max_k, catalogue.size))
        if kept is not None:
            new = np.zeros(catalogue.size, bool)
            new[catalogue.first_row :] = kept.new
            made.keep(new & catalogue.shown)
        self._max_k, self._first_row = min(max_k, catalogue.size), catalogue.first_row

    @property
    def index(self) -> ExactIndex | ApproximateIndex:
        return self._index()

    def recommend(self, user_id: tf.Tensor, history: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best items for string [b] users with string [b, h] histories, oldest first, padded with ''.

        Returns:
          `item_ids` and a string a column [b, n], `scores` float32 [b, n], best first, where n is max_k or, if that is
          less, the rows of the item table. '' and a score of -1e30 where there are fewer items than that.
        """
        seen = self.items.rows(history)
        return self._answer(*self._best(self._key(user_id), seen, self._hidden(seen)))

    def recommend_among(
        self,
        user_id: tf.Tensor,
        history: tf.Tensor,
        exclude: tf.Tensor,
        candidates: tf.Tensor,
        k: tf.Tensor,
        features: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """The same with all that can be asked for, each of it for a request of its own.

        Args:
          user_id: string [b].
          history: string [b, h].
          exclude: string [b, e], items that are left out too; '' pads.
          candidates: string [b, c], the only items that may be answered; '' pads, and nothing but '' stands for all.
          k: int32 [b], how many; 0, and what is more than was exported, for as many as were exported.
          features: string [b, f, 2], what is known of user and request, see `QueryInputs.read`; None for nothing.
        """
        key = self._key(user_id, features)
        seen = self.items.rows(history)
        hidden = self._hidden(seen, self.items.rows(exclude))
        candidate_rows = self.items.rows(candidates)
        listed = tf.reduce_any(candidate_rows > 0, axis=1)
        nothing = tf.zeros([tf.size(user_id), self._max_k], tf.int64)
        counts = tf.where((k > 0) & (k < self._max_k), k, self._max_k)

        def none() -> tuple[tf.Tensor, tf.Tensor]:
            return nothing, tf.fill(tf.shape(nothing), UNAVAILABLE)

        def among_all() -> tuple[tf.Tensor, tf.Tensor]:
            return self._best(key, seen, hidden, counts)

        def among_listed() -> tuple[tf.Tensor, tf.Tensor]:
            # Sorted, so that an item that is named twice has its likeness beside it, and ties end as among all.
            missing = tf.maximum(self._max_k - tf.shape(candidate_rows)[1], 0)
            rows = tf.sort(tf.pad(candidate_rows, [[0, 0], [0, missing]]), axis=1)
            again = tf.pad(rows[:, 1:] == rows[:, :-1], [[0, 0], [1, 0]])
            scores = tf.where(again, UNAVAILABLE, self._scores(key, seen, rows))
            return listed_best(rows, scores, hidden, self._max_k)

        # One or the other costs nothing where no request of the batch is of that kind.
        from_all = tf.cond(tf.reduce_all(listed), none, among_all)
        from_listed = tf.cond(tf.reduce_any(listed), among_listed, none)
        rows, scores = (
            tf.where(listed[:, None], listed_part, other)
            for listed_part, other in zip(from_listed, from_all, strict=True)
        )
        most = tf.reduce_max(tf.concat([counts, [0]], axis=0))
        scores = tf.where(tf.range(self._max_k) < counts[:, None], scores, UNAVAILABLE)
        return self._answer(rows[:, :most], scores[:, :most])

    def rank(
        self, user_id: tf.Tensor, history: tf.Tensor, candidates: tf.Tensor, features: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """Scores of string [b, c] candidates, float32 [b, c], higher is better.

        -1e30 for '', for unknown items and for those that are not available.
        """
        key = self._key(user_id, features)
        return {"scores": self._scores(key, self.items.rows(history), self.items.rows(candidates))}

    def embed(
        self, user_id: tf.Tensor, history: tf.Tensor, items: tf.Tensor, features: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """Vectors whose product is what the model learned: of users float32 [b, d], of string [b, c] items [b, c, d].

        Zeros for '' and for unknown items.
        """
        product = self._model().dot_product
        assert product is not None
        rows = self.items.rows(items)
        known = tf.cast(rows >= self._first_row, tf.float32)[:, :, None]
        query = product.query(self._key(user_id, features), self._recent(self.items.rows(history)))
        return {"user_vectors": query, "item_vectors": product.items.vectors(rows) * known}

    def evaluate(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """The metrics of string [b] serialised held-out positions, float32 [b, 1] each."""
        integer = tf.io.FixedLenFeature([], tf.int64)
        parsed = tf.io.parse_example(
            examples,
            {
                "key_row": integer,
                "item_row": integer,
                "history": tf.io.RaggedFeature(tf.int64),
                "weight": tf.io.FixedLenFeature([], tf.float32),
                **self.query_inputs.parsing,
            },
        )
        history, features = self._align(parsed["history"]), self.query_inputs.parsed(parsed)
        metrics = self.evaluate_rows(parsed["key_row"], history, parsed["item_row"], parsed["weight"], *features)
        return {name: value[:, None] for name, value in metrics.items()}

    def _evaluate_rows(
        self, key: tf.Tensor, history: tf.Tensor, item: tf.Tensor, weight: tf.Tensor, *features: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """The metrics of positions given by numbers of rows: int64 [b], [b, h], [b], float32 [b]; float32 [b] each.

        `features`: what was known at each, in the order of `QueryInputs.specs`.
        """
        if self.item_numbers is not None:
            history, item = self.item_numbers.rows(history), self.item_numbers.rows(item)
        if self.key_numbers is not None:
            key = self.key_numbers.rows(key)
        known = {ROW: key, **self.query_inputs.named(features)} if features else key
        return self._model().evaluate_positions(known, history, item, weight, self._k, self._exclude_seen)

    def build(self) -> dict[str, Any]:
        """The signatures by name, as `tf.saved_model.save` takes them; from then on `parameters` are what they use."""
        built = {
            "serving_default": _graph(self.recommend, _USER, _HISTORY),
            "recommend": _graph(self.recommend_among, _USER, _HISTORY, _EXCLUDE, _CANDIDATES, _K),
            "rank": _graph(self.rank, _USER, _HISTORY, _CANDIDATES),
            "evaluate": _graph(self.evaluate, tf.TensorSpec([None], tf.string, "examples")),
            "evaluate_rows": self.evaluate_rows.get_concrete_function(),
        }
        if self._model().dot_product is not None:
            built["embed"] = _graph(self.embed, _USER, _HISTORY, _ITEMS)
        if self.query_inputs.features:  # beside those without, which stay as every client knows them
            built[f"recommend{IN_CONTEXT}"] = _graph(
                self.recommend_among, _USER, _HISTORY, _EXCLUDE, _CANDIDATES, _K, _FEATURES
            )
            built[f"rank{IN_CONTEXT}"] = _graph(self.rank, _USER, _HISTORY, _CANDIDATES, _FEATURES)
            if "embed" in built:
                built[f"embed{IN_CONTEXT}"] = _graph(self.embed, _USER, _HISTORY, _ITEMS, _FEATURES)
        self.parameters = list(
            {id(variable): variable for graph in built.values() for variable in graph.graph.variables}.values()
        )
        return built

    def warm_up(self) -> list[tuple[str, Mapping[str, np.ndarray]]]:
        """Requests that go through all of the graph that a user can ask: signature names with their inputs."""
        known, other = _some(self.items.ids, self._first_row), b"none of the ids"
        user = np.array([other if self.keys is None else _some(self.keys.ids, self._first_row)], object)
        history, nothing = np.array([[other, known]], object), np.array([[b""]], object)
        pair = {"user_id": user, "history": history}
        recommend_inputs = {**pair, "exclude": nothing, "candidates": nothing, "k": np.zeros(1, np.int32)}
        requests: list[tuple[str, Mapping[str, np.ndarray]]] = [
            ("serving_default", pair),
            ("recommend", recommend_inputs),
            ("recommend", {**recommend_inputs, "candidates": history}),
            ("rank", {**pair, "candidates": history}),
        ]
        if self._model().dot_product is not None:
            requests.append(("embed", {**pair, "items": history}))
        if self.query_inputs.features:
            features = np.array([[[of.name, ""] for of in self.query_inputs.features]], object)
            requests += [
                (f"{name}{IN_CONTEXT}", {**inputs, "features": features})
                for name, inputs in requests
                if name != "serving_default"
            ]
        return requests

    def _best(
        self, key: Any, seen: tf.Tensor, hidden: tf.Tensor, counts: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The best rows and their scores; of lists of `counts`, int32 [b], or of as many as were exported."""
        history = self._recent(seen)
        listed = self.index.top(key, history, hidden, self._max_k)
        if self._kept is None:
            return listed
        places, k = self._kept
        length = tf.fill(tf.shape(seen)[:1], k) if counts is None else tf.minimum(counts, k)
        return served(listed, self.index.top_new(key, history, hidden, places), length)

    def _scores(self, key: Any, seen: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        scores = self._model().score(key, self._recent(seen), rows)
        return tf.where(tf.gather(self._shown, rows), scores, UNAVAILABLE)

    def _answer(self, rows: tf.Tensor, scores: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = tf.where(scores > UNAVAILABLE, rows, 0)  # row 0 has no id and no text
        columns = {name: tf.gather(texts, rows) for name, texts in self.columns.items()}
        return {"item_ids": tf.gather(self.items.ids, rows), **columns, "scores": scores}

    def _hidden(self, seen: tf.Tensor, *others: tf.Tensor) -> tf.Tensor:
        rows = [*([seen] if self._exclude_seen else []), *others]
        return tf.concat(rows, axis=1) if rows else tf.zeros_like(seen[:, :0])

    def _key(self, user_id: tf.Tensor, features: tf.Tensor | None = None) -> Any:
        """The rows of users, with what is known of them and of their requests where that is given."""
        rows = tf.zeros(tf.shape(user_id), tf.int64) if self.keys is None else self.keys.rows(user_id)
        return rows if features is None else {ROW: rows, **self.query_inputs.read(features)}

    def _recent(self, rows: tf.Tensor) -> tf.Tensor:
        return self._align(tf.ragged.boolean_mask(rows, rows > 0))

    def _align(self, history: tf.RaggedTensor) -> tf.Tensor:
        """The last `history_length` of each row, right-aligned, as the model saw them in training."""
        length = self._model().history_length
        newest_first = tf.reverse(history[:, -length:], axis=[1]).to_tensor(shape=[None, length])
        return tf.reverse(newest_first, axis=[1])


def _graph(function: Callable[..., Any], *specs: tf.TensorSpec) -> Any:
    return tf.function(function, autograph=False).get_concrete_function(*specs)


def _asks_for_keys(model: Servable) -> bool:
    """Whether a score depends on the key: where it does not, no key's id is worth keeping."""
    graph = tf.function(model.score_all, autograph=False).get_concrete_function(
        tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, model.history_length], tf.int64)
    )
    return bool(graph.inputs[0].consumers())


def _some(ids: tf.Variable, first_row: int) -> bytes:
    """An id in the middle of them, or one that is none."""
    size = int(ids.shape[0])
    return ids[first_row + (size - first_row) // 2].numpy() if size > first_row else b"none of the ids"
