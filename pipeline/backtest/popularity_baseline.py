"""The baseline that a recommender must beat: what was most popular of late, for everybody alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.backtest.next_span import Metrics, as_signature, evaluate_on
from pipeline.backtest.prepared_spans import PreparedSpan
from pipeline.backtest.results import Row
from pipeline.config import Config
from pipeline.parameters.graph_parameters import GraphParameters
from trainer.input_pipeline import Positions
from trainer.keras2 import tf
from trainer.metrics import mask_scores, rank_of, ranking_metrics

SPANS = 7
NAME = f"most popular, {SPANS} spans"
METRICS = ("recall", "ndcg", "mrr")


def most_popular(config: Config, spans: Sequence[PreparedSpan], on_span: Callable[[str], None]) -> list[Row]:
    """Tests, on each span but the first, the order of items by their events in the `SPANS` spans before.

    All events of those spans count, held out or not: they all came before. Seen items are left out as for a model.
    """
    weighted = GraphParameters.of(config).weighted
    rows = [Row(NAME, 0, spans[0].name, "count", 0, {}, 0, 0, 0.0)]
    for index, span in enumerate(spans[1:], start=1):
        on_span(span.name)
        # What was held out of a span is released to the next one, by when its items have their rows.
        past_positions = [
            past_span.sequences.positions(today_only=True) for past_span in spans[max(0, index - SPANS) : index]
        ]
        released = [_released(past_span) for past_span in spans[max(1, index - SPANS + 1) : index + 1]]
        targets = np.concatenate([*(positions.target for positions in past_positions), *released])
        scores = tf.constant(np.bincount(targets, minlength=span.sizes.items).astype(np.float32))
        signature = as_signature(_metrics(scores, span.sizes.first_row, config))
        metrics, events = evaluate_on(span, signature, config.history.length, weighted)
        rows.append(Row(NAME, 0, span.name, "count", events, metrics, 0, 0, 0.0))
    return rows


def _released(span: PreparedSpan) -> np.ndarray:
    every: Positions = span.sequences.positions()
    # Positions are laid out sequence by sequence; those of today are the last of each.
    counts = np.diff(span.sequences.splits)
    first = np.repeat(span.sequences.splits[:-1] + span.sequences.first_today, counts - span.sequences.first_new)
    return every.target[every.end < first]


def _metrics(scores: tf.Tensor, first_row: int, config: Config) -> Metrics:
    def metrics(key: tf.Tensor, history: tf.Tensor, item: tf.Tensor, weight: tf.Tensor) -> dict[str, tf.Tensor]:
        del weight
        every = tf.tile(scores[None, :], [tf.shape(key)[0], 1])
        masked = mask_scores(every, first_row, history if config.push.exclude_seen else None, keep=item)
        return ranking_metrics(rank_of(masked, item, first_row), config.gate.k)

    return metrics
