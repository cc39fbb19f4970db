"""What the models over a key's history have in common: all but their blocks."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from trainer.compiled_step import Dropout, is_compiled
from trainer.compiled_step import dropout as random_dropout
from trainer.features.declaration import OF_ITEMS, OF_NUMBERS, OF_WORDS, Feature
from trainer.features.query_values import ROW
from trainer.input_pipeline import Positions, Sequences
from trainer.keras2 import keras, tf
from trainer.metrics import mask_scores, weighted_mean
from trainer.models import catalogue_blocks, sampled_softmax
from trainer.models.attribution import Attribution
from trainer.models.base import SAMPLING_RATE, TableSizes, VocabularyName, WeightRole
from trainer.models.catalogue_blocks import InBlocks, LiveItems, SparseScores
from trainer.models.feature_tower import FeatureTower
from trainer.models.frozen_items import DotProduct, FrozenItems
from trainer.models.layers import Popularity, item_table
from trainer.models.query_tower import QueryTower
from trainer.models.reversed_windows import reversed_windows
from trainer.models.sequence_layers import noise, normalisation, projection
from trainer.models.softmax_in_blocks import softmax_losses
from trainer.models.stacking import Evidence, Stacking
from trainer.models.transitions import Transitions
from trainer.models.with_features import WithFeatures

_CANDIDATES = "candidates"  # of a prepared batch, see `SequenceModel.prepare`


class SequenceModel(WithFeatures):
    """score(history, item) = cosine(session, v_item) / temperature, mixed with what was counted (see `Stacking`).

    One forward pass over a sequence takes a loss at every new step, and the item embeddings are tied. With `head: raw`
    the session is a weighted mean of the *raw* embeddings of its items: what the blocks make of the sequence and a
    learned bias for each distance give the weights, the values are not projected, so that sessions and items share one
    space (Hou et al., "CORE: simple and effective session-based recommendation within consistent representation
    space", SIGIR 2022, eq. 1 to 9, there for the last step alone). With `head: projected` the session is the blocks'
    output. What a block is a subclass says.

    Args:
      dimension: width of the embeddings and of the blocks.
      blocks, heads: how many of each; `inner` times `dimension` is a block's inner width.
      dropout: of the blocks' outputs while training.
      item_dropout: of the item vectors while training, as inputs and as candidates.
      head: `raw` or `projected`.
      temperature: of the softmax at the start; it is learned.
      negatives: candidates drawn for a batch; a catalogue of at most twice as many items is scored whole.
      reverse: whether sequences are learned from the end to the start too. What was looked at together says much
        about each other in either order, and a short history has few pairs.
      neighbours: how many neighbours of each item are counted, 0 for none (see `Transitions`).
      launch_prior: whether an item with few events has the popularity that its features, its age and those events let
        expect (see `LaunchPrior`); without features there is none.
      features: of items; with them v_item is what its id has learned and what its features say (see `FeatureTower`).
        With none of a catalogue, an empty list, it is zero before an item has events.
      query_features: of key and context; with them g(features) is added to the session (see `QueryTower`), but for
        sequences that are learned in reverse: what is known when an item comes says nothing of the one before.
      revision: which of `revisions` a new model is; None for the newest. One that goes on stays what it was.
    """

    form = "sequences"
    vectors = "part"
    item_feature_kinds = OF_ITEMS
    query_feature_kinds = OF_WORDS | OF_NUMBERS
    tables: ClassVar[dict[str, VocabularyName]] = {
        "item_embedding": "items",
        "popularity/counts": "items",
        "transitions/together": "items",
        "transitions/following": "items",
        "transitions/counts": "items",
    }
    neighbours: ClassVar[dict[str, str]] = {
        f"transitions/{counted}/rows": f"transitions/{counted}/weights_" for counted in ("together", "following")
    }

    def __init__(
        self,
        sizes: TableSizes,
        history_length: int,
        dimension: int = 128,
        blocks: int = 1,
        heads: int = 1,
        inner: int = 1,
        dropout: float = 0.2,
        item_dropout: float = 0.3,
        head: Literal["raw", "projected"] = "raw",
        temperature: float = 0.07,
        negatives: int = 2048,
        reverse: bool = True,
        neighbours: int = 64,
        launch_prior: bool = True,
        features: Sequence[Feature] | None = None,
        query_features: Sequence[Feature] | None = None,
        revision: int | None = None,
    ) -> None:
        if head not in ("raw", "projected"):
            raise TypeError(f"head must be raw or projected, not {head!r}")
        if dimension % heads:
            raise TypeError(f"dimension must be a multiple of heads, not {dimension} of {heads}")
        if not blocks and (heads, inner) != (1, 1):
            raise TypeError(f"heads and inner have an effect with blocks only, not {heads} and {inner} without any")
        if negatives < 1:
            raise TypeError(f"negatives must be at least 1, not {negatives}")
        if not (0 <= dropout < 1 and 0 <= item_dropout < 1):
            raise TypeError(f"dropout and item_dropout must be from 0 to below 1, not {dropout} and {item_dropout}")
        if not temperature > 0:
            raise TypeError(f"temperature must be above 0, not {temperature}")
        super().__init__(sizes, history_length, revision)
        self.negatives, self.reverse, self.item_dropout = negatives, reverse, item_dropout
        self.item_embedding = item_table(sizes, dimension, stddev=dimension**-0.5)
        self.item_features = (
            FeatureTower(features, sizes, dimension, launch_prior and bool(features)) if features is not None else None
        )
        self.query_features = QueryTower(query_features, sizes, dimension) if query_features else None
        self.places = self.add_weight("places", [history_length, dimension], initializer=noise(0.02))
        self.blocks = [self.make_block(dimension, heads, inner * dimension, dropout) for _ in range(blocks)]
        self.before_head = normalisation(dimension) if self.normalises else None
        self.log_scale = self.add_weight("log_scale", [], initializer=keras.initializers.Constant(-np.log(temperature)))
        self.dropout = Dropout(dropout)
        self.head_query = projection(dimension) if head == "raw" else None
        self.head_key = projection(dimension) if head == "raw" else None
        self.distance_bias = self.add_weight("distance_bias", [history_length], initializer="zeros")
        self.popularity = Popularity(sizes.items)
        self.transitions = Transitions(sizes, neighbours) if neighbours else None
        self.mixture = Stacking(network=self.weighs_by_network)
        self.served: FrozenItems | None = None

    @abc.abstractmethod
    def make_block(self, width: int, heads: int, inner: int, dropout: float) -> keras.layers.Layer:
        """One block: float32 [b, l, width] from steps [b, l, width], bool [b, l, l] `visible`, and `training`."""

    @property
    def normalises(self) -> bool:
        """Whether items come to the blocks at the length of what these add, and are normalised before the head."""
        return True

    @property
    def weighs_by_network(self) -> bool:
        """Whether what was counted is weighed by a network (see `Stacking`) and not by a few weights alone."""
        return True

    @classmethod
    def weight_role(cls, params: Mapping[str, Any]) -> WeightRole:
        return "loss"

    def set_popularity(self, recent: np.ndarray) -> None:
        self.popularity.assign(recent)

    def log_popularity(self, item: tf.Tensor, without: float = 0.0) -> tf.Tensor:
        """Log popularity, float32 of the shape of int64 rows, `without` so many events of each."""
        prior = None if self.item_features is None else self.item_features.launches
        return self.popularity.log(item, without, prior)

    def item_vectors(self, item: tf.Tensor) -> tf.Tensor:
        """v_item, not of unit length, float32 [..., dimension], for int64 rows of any shape."""
        if self.served is not None:
            return self.served.table(item)
        own = self.item_embedding(item)
        return own if self.item_features is None else self.item_features(item, own)

    def observe(self, sequences: Sequences) -> None:
        if self.transitions is not None:
            self.transitions.count(sequences)

    def calibrate(self, unlearned: Positions) -> None:
        self.mixture.fit(unlearned, self.history_length, self._evidence, self.sizes.first_row, self.sizes.items)

    def represent(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        session = self._sessions(history, training=False)[:, -1]
        return session if self.query_features is None else session + self.query_features(key)

    def score_all(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        if self.served is None:
            return self.mixture.mix(self._evidence(key, history))
        scores = self.served.scores(self._weighed_query(key, history))
        return self.mixture.correct(scores, self._counted(history), history, self._of_items)

    def score_batch(self, batch: dict[str, tf.Tensor], candidates: tf.Tensor) -> tf.Tensor:
        steps = tf.where(batch["item"] > 0)
        sessions = self._asked(batch["key"], self._sessions(batch["history"], training=False), steps)
        return self._cosine(sessions, self.item_vectors(candidates))

    def shares(self, key: tf.Tensor, history: tf.Tensor, item: tf.Tensor) -> Attribution | None:
        """With `head: raw` the session is a weighted mean of raw item vectors, and a product with it a sum over events.

        An event's share is its weight times its product with the item, over the session's length. Beside the events
        stand popularity and what was counted (see `Stacking`). With `head: projected` the blocks mix what they attend
        to, and nothing is left of single events.
        """
        attention, raw = self._attended(history, training=False)
        if attention is None:
            return None
        known = tf.zeros([raw.shape[-1]]) if self.query_features is None else self.query_features(key)[0]
        session = tf.matmul(attention[:, -1:], raw)[0, 0] + known
        length = tf.sqrt(tf.maximum(tf.reduce_sum(tf.square(session)), 1e-12))  # as l2_normalize
        scale = self.mixture.weights_[0] * tf.exp(self.log_scale) / length
        wanted = self._unit(self.item_vectors(item))[0]
        events = scale * attention[0, -1] * tf.linalg.matvec(raw[0], wanted)
        present = tf.cast(history[0] > 0, tf.float32)
        slope = self.mixture.query(session[None], history)[0, -1]
        nothing = tf.zeros([1, self.sizes.items])
        met = float(self.mixture.correct(nothing, (), history, self._of_items)[0, item[0]])
        every = self._counted(history)
        counted = float(self.mixture.correct(nothing, every, history, self._of_items)[0, item[0]])
        rest = {
            "popularity": float(slope * self.log_popularity(item)[0]),
            "what was counted beside these items": counted - met,
            "met before or not": met,
        }
        if self.query_features is not None:
            rest["features of user and context"] = float(scale * tf.reduce_sum(known * wanted))
        if not float(tf.reduce_sum(present)):  # then the attention is on the padding, which has a vector too
            rest["no history"] = float(tf.reduce_sum(events))
        of_item = {}
        if self.item_features is not None:
            per_length = tf.math.rsqrt(tf.maximum(tf.reduce_sum(tf.square(self.item_vectors(item))), 1e-12))
            of_item = self.item_features.products(scale * per_length * session, item, self.item_embedding(item))
        return Attribution("attention", (events * present).numpy().astype(np.float64), rest, of_item)

    def freeze(self) -> None:
        """Computes log popularity and the items' vectors and lengths once. Training after it leaves them behind."""
        embeddings = self._item_table()
        if self.item_features is not None:
            embeddings = tf.Variable(embeddings, trainable=False, name="items")
        scale = tf.math.rsqrt(tf.maximum(tf.reduce_sum(tf.square(embeddings), axis=1), 1e-12))  # as l2_normalize
        self.served = FrozenItems(embeddings, self.log_popularity(tf.range(self.sizes.items)), scale)

    @property
    def dot_product(self) -> DotProduct | None:
        if self.served is None:
            return None
        return DotProduct(self.served, self._weighed_query, whole=False)

    @property
    def in_blocks(self) -> InBlocks:
        items = LiveItems(self._weighed_vectors) if self.served is None else self.served
        return InBlocks(items, self._weighed_query, self._added)

    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Sampled softmax over all steps of sequences while training, the exact one of positions otherwise.

        Weighted mean over what counts.
        """
        if not training:
            known = tf.cast(batch["item"] >= self.sizes.first_row, tf.float32)
            return weighted_mean(self._exact_losses(batch), known * batch["weight"])
        history, item, weight = self._both_ways(batch)
        counts = item >= self.sizes.first_row
        if is_compiled():
            steps, weight = _every_step(item), weight * tf.cast(counts, tf.float32)
        else:
            steps = tf.where(counts)
        sessions = self._asked(batch["key"], self._sessions(history, training=True), steps)
        candidates = self._candidates(tf.concat([history, item], axis=1), batch)
        length = tf.shape(history)[1]
        history_places = tf.gather(candidates.places[:, :length], steps[:, 0])
        target = tf.gather_nd(candidates.places[:, length:], steps)
        vectors = random_dropout(self._unit(self.item_vectors(candidates.rows)), self.item_dropout)
        certain = tf.concat([history_places, target[:, None]], axis=1)
        losses = sampled_softmax.losses(self._scaled(sessions), vectors, candidates, certain, target)
        return weighted_mean(losses, tf.gather_nd(weight, steps))

    def _exact_losses(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """Of the softmax over the whole catalogue, float32 [b]."""
        key, history, item = batch["key"], batch["history"], batch["item"]
        if self.sizes.items > catalogue_blocks.AT_ONCE:
            query, added = self._weighed_query(key, history), self._added(history)
            return softmax_losses(self.in_blocks.items, query, added, item, self.sizes.first_row, self.sizes.items)
        scores = mask_scores(self.score_all(key, history), self.sizes.first_row, keep=item)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=item, logits=scores)

    def prepare(self, batch: dict[str, Any]) -> dict[str, Any]:
        if self._softmax_is_exact:
            return batch
        history, item, _ = self._both_ways(batch)
        drawn = self._candidates(tf.concat([history, item], axis=1), batch)
        return {**batch, _CANDIDATES: vars(drawn.padded())}

    def _both_ways(self, batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, ...]:
        """Inputs, targets and weights of a batch of sequences, [b, l], or [2 b, l] with the reversed ones."""
        forward = batch["history"], batch["item"], batch["weight"]
        if not self.reverse:
            return forward
        both = zip(forward, reversed_windows(*forward, batch.get("events", forward[0])), strict=True)
        return tuple(tf.concat(columns, axis=0) for columns in both)

    def _sessions(self, history: tf.Tensor, training: bool) -> tf.Tensor:
        """The wanted vector at each step, float32 [b, l, dimension], for int64 [b, l] rows with 0 before or behind."""
        attention, values = self._attended(history, training)
        return values if attention is None else tf.matmul(attention, values)

    def _asked(self, key: Any, sessions: tf.Tensor, steps: tf.Tensor) -> tf.Tensor:
        """The wanted vectors at int64 [p, 2] `steps` of [b, l, dimension] sessions, with what each step is asked with.

        Of sequences behind those of `key`, which are reversed, the sessions alone.
        """
        wanted = tf.gather_nd(sessions, steps)
        if self.query_features is None or not isinstance(key, Mapping):
            return wanted if self.query_features is None else wanted + self.query_features(key)
        forward = tf.cast(steps[:, 0] < tf.shape(key[ROW], tf.int64)[0], tf.float32)
        at = steps * tf.cast(forward, tf.int64)[:, None]  # of a reversed sequence anywhere: it counts for nothing
        values = {name: tf.gather_nd(of, at) for name, of in key.items() if name != ROW}
        return wanted + forward[:, None] * self.query_features(values)

    def _attended(self, history: tf.Tensor, training: bool) -> tuple[tf.Tensor | None, tf.Tensor]:
        """The weights [b, l, l] of the raw item vectors, and these; or None and the blocks' own output."""
        present = history > 0
        raw = self.item_vectors(history)
        if training:
            raw = random_dropout(raw, self.item_dropout)
        place = tf.maximum(tf.cumsum(tf.cast(present, tf.int32), axis=1) - 1, 0)
        # A block adds vectors of about the root of the width: without a factor items are lost among them (Vaswani et
        # al., "Attention is all you need", NeurIPS 2017, section 3.4).
        vectors = raw * raw.shape[-1] ** 0.5 if self.normalises else raw
        steps = self.dropout(vectors + tf.gather(self.places, place), training=training)
        length = tf.shape(history)[1]
        distance = tf.range(length)[:, None] - tf.range(length)
        visible = (distance >= 0) & present[:, None, :]
        for block in self.blocks:
            steps = block(steps, visible, training=training)
        if self.before_head is not None:
            steps = self.before_head(steps)
        if self.head_query is None or self.head_key is None:
            return None, steps
        scores = tf.cast(tf.matmul(self.head_query(steps), self.head_key(steps), transpose_b=True), tf.float32)
        scores *= steps.shape[-1] ** -0.5
        scores += tf.gather(self.distance_bias, tf.maximum(distance, 0))
        return tf.nn.softmax(tf.where(visible, scores, -1e9)), raw

    def _cosine(self, sessions: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """float32 [p, c] over the temperature, from [p, dimension] and unit vectors [c, dimension]."""
        return tf.matmul(self._scaled(sessions), items, transpose_b=True)

    def _scaled(self, sessions: tf.Tensor) -> tf.Tensor:
        """float32 [p, dimension], as long as one over the temperature."""
        return self._unit(sessions) * tf.exp(self.log_scale)

    def _candidates(self, rows: tf.Tensor, batch: dict[str, tf.Tensor]) -> sampled_softmax.Candidates:
        """For int64 rows of the items of `batch`, which hold each of its events several times."""
        if _CANDIDATES in batch:
            return sampled_softmax.Candidates(**batch[_CANDIDATES])
        if self._softmax_is_exact:
            return sampled_softmax.whole_catalogue(rows, self.sizes.items, self.sizes.first_row)
        rate = batch[SAMPLING_RATE] if SAMPLING_RATE in batch else self.popularity.sampling_rate()
        others = sampled_softmax.held_by_others(tf.concat([batch["history"], batch["item"]], 1), self.sizes.first_row)
        return sampled_softmax.draw(rows, rate, others, self.sizes.items, self.sizes.first_row, self.negatives)

    @property
    def _softmax_is_exact(self) -> bool:
        return self.sizes.items <= 2 * self.negatives

    def _evidence(self, key: tf.Tensor, history: tf.Tensor) -> Evidence:
        popular = self.log_popularity(tf.range(self.sizes.items))
        counted = self._counted(history)
        return Evidence(self._query(key, history), self._unit_items(), popular, counted, history, self._of_items)

    def _query(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        return self._unit(self.represent(key, history)) * tf.exp(self.log_scale)

    def _weighed_query(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        return self.mixture.query(self._query(key, history), history)

    def _weighed_vectors(self, item: tf.Tensor) -> tf.Tensor:
        """What `_weighed_query` meets, float32 [n, dimension + 1] for int64 [n] rows."""
        return tf.concat([self._unit(self.item_vectors(item)), self.log_popularity(item)[:, None]], axis=1)

    def _added(self, history: tf.Tensor) -> SparseScores:
        return self.mixture.added(self._counted(history), history, self._of_items)

    def _of_items(self, item: tf.Tensor) -> tf.Tensor:
        """Log popularity and log count, float32 [n, 2] for int64 [n] rows."""
        popular = self.log_popularity(item)
        count = tf.zeros_like(popular) if self.transitions is None else tf.gather(self.transitions.counts, item)
        return tf.stack([popular, tf.math.log1p(count)], axis=1)

    def _counted(self, history: tf.Tensor) -> tuple[SparseScores, ...]:
        return () if self.transitions is None else self.transitions(history)

    def _unit_items(self) -> tf.Tensor:
        return self._unit(self._item_table())

    def _item_table(self) -> tf.Variable | tf.Tensor:
        if self.item_features is None:
            return self.item_embedding.embeddings
        return self.item_vectors(tf.range(self.sizes.items, dtype=tf.int64))

    @staticmethod
    def _unit(vectors: tf.Tensor) -> tf.Tensor:
        return tf.math.l2_normalize(vectors, axis=-1)


def _every_step(item: tf.Tensor) -> tf.Tensor:
    """Places of all steps of [b, l], int64 [b * l, 2], row by row."""
    rows, length = tf.unstack(tf.shape(item, tf.int64))
    return tf.reshape(tf.stack(tf.meshgrid(tf.range(rows), tf.range(length), indexing="ij"), axis=-1), [-1, 2])
