"""Tests on a span before anything has learned it: the pipeline's next-span evaluation, on a model in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from components.next_span_evaluator.component import evaluate
from pipeline.backtest.prepared_spans import PreparedSpan
from serving.bundle.numbered_rows import NumberedRows
from trainer.features.declaration import OF_WORDS, Feature
from trainer.features.query_values import with_values
from trainer.keras2 import tf
from trainer.row_numbers import PLAIN, Numbering, RowNumbers

Metrics = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], dict[str, tf.Tensor]]


def as_signature(metrics: Metrics, features: Sequence[Feature] = (), numbering: Numbering = PLAIN) -> Any:
    """`metrics` traced once for batches of any size, to be called by name.

    Args:
      metrics: of key [b], history [b, h], item [b] rows and weight [b]: float32 [b] by name.
      features: of key and context, whose values then come with a key.
      numbering: of the rows that `metrics` is of; the signature is asked with numbers, as a bundle is.
    """
    items, keys = _in_graph(numbering.items), _in_graph(numbering.keys)

    def with_features(
        key: tf.Tensor, history: tf.Tensor, item: tf.Tensor, weight: tf.Tensor, *values: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        named = {feature.vocabulary: value for feature, value in zip(features, values, strict=True)}
        return metrics(with_values(keys(key), named), items(history), items(item), weight)

    specs = (
        tf.TensorSpec([None, None], tf.int64, feature.vocabulary)
        if feature.kind in OF_WORDS
        else tf.TensorSpec([None], tf.float32, feature.vocabulary)
        for feature in features
    )
    return tf.function(with_features, autograph=False).get_concrete_function(
        tf.TensorSpec([None], tf.int64, "key"),
        tf.TensorSpec([None, None], tf.int64, "history"),
        tf.TensorSpec([None], tf.int64, "item"),
        tf.TensorSpec([None], tf.float32, "weight"),
        *specs,
    )


def _in_graph(rows: RowNumbers) -> Callable[[tf.Tensor], tf.Tensor]:
    return tf.identity if rows.numbers is None else NumberedRows(rows.first_row, rows.numbers).rows


def evaluate_on(
    span: PreparedSpan, signature: Any, history_length: int, weighted: bool
) -> tuple[dict[str, float], int]:
    """Means over all events of `span`, held out or not, and how many there are.

    Args:
      span: what is tested on.
      signature: see `as_signature`.
      history_length: h.
      weighted: whether the means are by the events' weights.
    """
    parts = span.sequences.positions(today_only=True), span.held_out
    metrics = evaluate(signature, parts, history_length, weighted)
    return metrics, int(metrics.pop("events"))
