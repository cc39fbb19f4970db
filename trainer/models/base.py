"""What a model must answer to be trained, gated and served by warmspan.

The life of a `Recommender`, in order: what is asked of it, who asks, and when.

1. Declare: `form`, `tables`, `vectors`, `metric_names` and `weight_role`, read from the class before there is a model;
   the pipeline sets up the gate and the index by them.
2. Build: `__init__(sizes, history_length, **params)`, by `trainer.update` for each night's candidate and for the
   teacher of distillation, for a teacher of another shape, and by whoever reads a saved state.
3. Carry over: `trainer.warm_start` copies yesterday's rows and optimizer slots of what `tables` names and starts the
   new rows; all other variables are copied whole.
4. `set_popularity`: by `trainer.update`, once, before the first span is learned; then `set_features`, where features of
   items are declared, and `learn_launches`; and `set_knots`, where features of key and context are.
5. `observe`: by `trainer.update`, each span once, before it is learned.
6. Fit: `compute_loss(batch, training=True)`, each step, of what `prepare` makes of the batch where XLA compiles it. Of
   the parts that keep the old days distillation asks for `score_batch`, as teaching by another model does of both,
   herding for `represent(key, history)`, float32 [b, d], where the model has one. After each epoch early stopping
   watches `compute_loss(batch, training=False)`, or `evaluate_positions`, on held-out positions.
7. `calibrate`: by `trainer.update`, once, after the last span, on the held-out positions; after a warm start without
   any, on each span's own before it is learned too.
8. Evaluate: `evaluate_positions`, by the backtest on the model itself, by the gate and by the champion's look at the
   next span through the exported signatures `evaluate` and `evaluate_rows`.
9. `freeze`: by the export, once. Nothing is trained after it.
10. Export: `serving.bundle` traces `score_all`, `score`, `evaluate_positions` and, of `dot_product`, the query and
    the items into the bundle's signatures. A server asks these and knows nothing of the class.
11. Explain: `shares`, by `warmspan explain`, on a model that was built again from its saved state.
12. Forget: `warmspan forget` asks nothing. It sets to zero a user's rows of what `tables` names with `keys`, in saved
    states, their slots and bundles: a row of zeros must stand for a stranger.

What a model has learned, was told or has counted is in its variables and nowhere else: built again from them it is the
same model. `trainer.checks` finds out whether a class keeps all this, and docs/own-model.md brings one along.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import tensorflow_recommenders as tfrs

from trainer.features.declaration import Kind
from trainer.features.item_features import ItemFeatures
from trainer.features.launches import Launches
from trainer.features.query_values import ROW
from trainer.input_pipeline import Positions, Sequences
from trainer.keras2 import tf
from trainer.metrics import mask_scores, rank_of, ranking_metrics, weighted_mean
from trainer.models import catalogue_blocks
from trainer.models.attribution import Attribution
from trainer.models.catalogue_blocks import InBlocks
from trainer.models.frozen_items import DotProduct
from trainer.models.kept_places import KeptPlaces
from trainer.models.position_pieces import in_pieces
from trainer.models.rank_in_blocks import rank_within
from trainer.row_numbers import PLAIN, Numbering

VocabularyName = Literal["items", "keys"]
WeightRole = Literal["loss", "label", "unused"]
SAMPLING_RATE = "sampling_rate"  # of a training batch, see `Recommender`


@dataclasses.dataclass(frozen=True)
class TableSizes:
    """Rows of the tables, padding (row 0) and out-of-vocabulary rows included.

    `first_row` is the row of the first id: below it nothing can be recommended. `words` are rows by the names of the
    vocabularies of features, where there are any. `numbering` says which ids the rows are of.
    """

    items: int
    keys: int
    first_row: int
    words: tuple[tuple[str, int], ...] = ()
    numbering: Numbering = dataclasses.field(default=PLAIN, compare=False, repr=False)

    def rows(self, vocabulary: str) -> int:
        """Of a table for the ids or words of that vocabulary; none of one that there is not."""
        return {"items": self.items, "keys": self.keys, **dict(self.words)}.get(vocabulary, 0)


class Recommender(tfrs.Model, abc.ABC):
    """A `tfrs.Model` over rows of the vocabularies.

    A subclass takes `(sizes, history_length, **params)`, gives `compute_loss` and `score_all`, and names in `tables`
    which of its variables grow with which vocabulary. `vectors` says how much of its scores is a product of vectors:
    where it is not none, `dot_product` gives them once the model is frozen, and `in_blocks` may say how a catalogue
    that is too large to be scored at once is measured over. `item_feature_kinds` says which kinds of features of items
    it learns from: where there are any, it is built with those declared, as `features`. `query_feature_kinds` says the
    same of features of key and context; where such are declared it is built with them as `query_features`, and every
    `key` that it gets may be a mapping instead of rows (see `trainer.features.query_values`).

    `revisions` are the forms that the class has had, the newest last: other variables, or other arithmetic with the
    same ones. Where there are several `__init__` takes a `revision`. A new model is of the newest; a state says of
    which it is, and is read, warm-started and served as that.

    `shares_steps` says that on a replica's rows of a batch `compute_loss` is that replica's part of the loss on the
    batch, so that the replicas' losses add up to it (see `trainer.replicas`). A class says it of itself: a loss of its
    own makes of what the class above it says nothing that could be relied on.

    `compute_loss(batch, training)` gets `key` [b], `history` [b, h] (row 0 in front), `item` [b] and `weight` [b]. With
    `training=False` its value is what early stopping watches. A model whose `form` is `sequences` gets another batch
    while training: `history` [b, l] (row 0 behind) and, for each of its steps, the `item` [b, l] to predict, 0 where
    none is, and its `weight` [b, l] (see `trainer.sequence_windows`). With each training batch comes `sampling_rate`
    [sizes.items], how its like hold the items, for models whose negatives are those of the batch (see
    `trainer.models.sampled_softmax`).

    What depends on a tensor's value is said by `tf.cond` and `tf.while_loop`: no graph is read by AutoGraph.

    `neighbours` names variables of which each value is an item row, and for each the one of the same shape that says
    how much it weighs: where an item has left, its weight is 0 (see `trainer.renumbering`).

    `weight` is what `data.columns.weight` says of the event to predict, 1 without that setting. It is there to be used,
    and `weight_role` says what as: with `loss` a loss is the mean by these weights (`trainer.metrics.weighted_mean`).
    """

    form: ClassVar[Literal["positions", "sequences"]] = "positions"
    tables: ClassVar[dict[str, VocabularyName]] = {}
    neighbours: ClassVar[dict[str, str]] = {}
    vectors: ClassVar[Literal["none", "part", "whole"]] = "none"
    item_feature_kinds: ClassVar[frozenset[Kind]] = frozenset()
    query_feature_kinds: ClassVar[frozenset[Kind]] = frozenset()
    revisions: ClassVar[tuple[int, ...]] = (1,)
    shares_steps: ClassVar[bool] = False

    def __init__(self, sizes: TableSizes, history_length: int, revision: int | None = None) -> None:
        super().__init__()
        self.revision = self.revisions[-1] if revision is None else revision
        if self.revision not in self.revisions:
            raise TypeError(f"revision must be one of {', '.join(map(str, self.revisions))}, not {revision}")
        self.sizes = sizes
        self.history_length = history_length
        self.kept_places: KeptPlaces | None = None  # set before the export, where the settings keep some

    @classmethod
    def metric_names(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        """What `evaluate_positions` returns for a model built with `params`."""
        del params
        return ("recall", "ndcg", "mrr")

    @classmethod
    def weight_role(cls, params: Mapping[str, Any]) -> WeightRole:
        """What the events' weights are to a model built with `params`.

        `loss`: how much each event counts in `compute_loss`, and so in what is watched on the held-out part, in the
        gate and in the next-span evaluation. `label`: what is predicted; all events count alike. `unused`: nothing, so
        that `data.columns.weight` is refused.
        """
        del params
        return "unused"

    @tf.function(reduce_retracing=True, autograph=False)
    def held_out_step(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """The loss of one batch without training."""
        return self.compute_loss(batch, training=False)

    @tf.function(reduce_retracing=True, autograph=False)
    def metrics_step(self, batch: dict[str, tf.Tensor], name: str, k: int, weighted: bool) -> tf.Tensor:
        """The mean of the metric `name` over one batch, by event weights or not; nothing that was seen is left out."""
        columns = (batch["key"], batch["history"], batch["item"], batch["weight"])
        values = self.evaluate_positions(*columns, k=k, exclude_seen=False)[name]
        return weighted_mean(values, batch["weight"] if weighted else tf.ones_like(values))

    @abc.abstractmethod
    def score_all(self, key: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        """Scores every item row for int64 [b] keys and [b, h] histories: float32 [b, sizes.items]."""

    def score(self, key: tf.Tensor, history: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        """Scores int64 [b, c] candidate rows: float32 [b, c]."""
        return tf.gather(self.score_all(key, history), candidates, batch_dims=1)

    def score_batch(self, batch: dict[str, tf.Tensor], candidates: tf.Tensor) -> tf.Tensor:
        """Scores int64 [c] item rows at each position that a training batch takes a loss at: float32 [p, c].

        Positions stand in the order of the batch, row by row.
        """
        every = self.score_all(batch["key"], batch["history"])
        return tf.gather(every, candidates, axis=1)

    def prepare(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A training batch for a step that XLA compiles: with what the loss needs of it and XLA can't find out.

        That is whatever has a shape that depends on values, such as what is unique, in one of a few sizes. Called
        before such a step, with `trainer.compiled_step.is_compiled`, and before no other.
        """
        return batch

    def set_popularity(self, recent: np.ndarray) -> None:
        """Told before each span: float64 [sizes.items], how often each item row occurred, of late above all."""
        del recent

    @property
    def feature_tables(self) -> Mapping[str, str]:
        """As `tables`, of what is there for declared features: variables, by the vocabularies of their rows."""
        return {}

    def set_features(self, features: ItemFeatures) -> None:
        """Told before each span what is known of each item, where features are declared."""
        del features

    def set_knots(self, knots: Mapping[str, np.ndarray]) -> None:
        """Told before each span of numbers of key and context, by feature (see `NumberStatistics.knots`)."""
        del knots

    def learn_launches(self, launches: Launches, spans: Sequence[tuple[int, np.ndarray]]) -> None:
        """Told once, after `set_features`, of when items appeared and what they had in each span that is to be learned.

        Args:
          launches: as of the last span.
          spans: their numbers and how many events each item had, int64 [sizes.items]; in order, perhaps none.
        """
        del launches, spans

    def observe(self, sequences: Sequences) -> None:
        """Told of each span once, before it is learned; a model that counts counts here."""
        del sequences

    def calibrate(self, unlearned: Positions) -> None:
        """Told of positions that the model has not learned; what must not be fitted on learned ones is fitted here."""
        del unlearned

    def freeze(self) -> None:
        """Told once before the model is exported; what can be computed ahead for all requests is computed here."""

    @property
    def dot_product(self) -> DotProduct | None:
        """How the scores come from vectors, once the model is frozen; None where they do not."""
        return None

    @property
    def in_blocks(self) -> InBlocks | None:
        """How losses and metrics over a large catalogue are found without all of its scores at once; None where not.

        Asked of a model that is being trained and of a frozen one.
        """
        product = self.dot_product
        return InBlocks(product.items, product.query) if product is not None and product.whole else None

    def shares(self, key: tf.Tensor, history: tf.Tensor, item: tf.Tensor) -> Attribution | None:
        """What the score of one item is the sum of; None where it is no sum over the events of the history.

        Args:
          key: int64 [1].
          history: int64 [1, h], 0 in front.
          item: int64 [1].
        """
        del key, history, item
        return None

    def evaluate_positions(
        self, key: tf.Tensor, history: tf.Tensor, item: tf.Tensor, weight: tf.Tensor, k: int, exclude_seen: bool
    ) -> dict[str, tf.Tensor]:
        """The metrics of each position, float32 [b] each. Rows that this model lacks yet are out of vocabulary."""
        del weight
        key, history = self.known(key, self.sizes.keys), self.known(history, self.sizes.items)
        how = self.in_blocks
        if how and self.sizes.items > catalogue_blocks.AT_ONCE and self.kept_places is None:
            query, added = how.query(key, history), how.added and how.added(history)
            seen = history if exclude_seen else None
            rank = rank_within(how.items, query, added, seen, item, self.sizes.first_row, self.sizes.items, k)
            return ranking_metrics(rank, k)

        def listed(key: Any, history: tf.Tensor, item: tf.Tensor) -> dict[str, tf.Tensor]:
            seen = history if exclude_seen else None
            scores = mask_scores(self.score_all(key, history), self.sizes.first_row, seen, keep=item)
            return self.list_metrics(scores, item, k)

        return in_pieces(listed, (key, history, item), self.sizes.items)

    def list_metrics(self, scores: tf.Tensor, item: tf.Tensor, k: int) -> dict[str, tf.Tensor]:
        """The metrics of the lists by float32 [b, items] masked scores, float32 [b] each, as they are served."""
        rank = rank_of(scores, item, self.sizes.first_row)
        return ranking_metrics(rank if self.kept_places is None else self.kept_places.rank(scores, item, rank), k)

    @staticmethod
    def known(rows: Any, size: int) -> Any:
        """Rows that came into the vocabulary after this model was trained become the out-of-vocabulary row."""
        if isinstance(rows, Mapping):
            return {**rows, ROW: Recommender.known(rows[ROW], size)}
        return tf.where(rows < size, rows, tf.ones_like(rows))


def table_of(model: Recommender, path: str) -> str | None:
    """The vocabulary whose rows the variable at `path` holds, if any."""
    tables = {**model.tables, **model.feature_tables}
    return next((name for table, name in tables.items() if path == table or path.startswith(table + "/")), None)
