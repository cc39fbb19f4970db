"""Tests on a span before anything has learned it: the pipeline's next-span evaluation, on a model in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from components.next_span_evaluator.component import evaluate
from pipeline.backtest.prepared_spans import PreparedSpan
from trainer.keras2 import tf

Metrics = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], dict[str, tf.Tensor]]


def as_signature(metrics: Metrics) -> Any:
    """`metrics` traced once for batches of any size, to be called by name.

    Args:
      metrics: of key [b], history [b, h], item [b] rows and weight [b]: float32 [b] by name.
    """
    return tf.function(metrics).get_concrete_function(
        tf.TensorSpec([None], tf.int64, "key"),
        tf.TensorSpec([None, None], tf.int64, "history"),
        tf.TensorSpec([None], tf.int64, "item"),
        tf.TensorSpec([None], tf.float32, "weight"),
    )


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
