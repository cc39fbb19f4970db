"""What baselines without training reach on the events that every policy is tested on."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import numpy as np

from components.next_span_evaluator.component import event_weights, means
from components.next_span_evaluator.surroundings import ranked
from pipeline.backtest.baselines.base import Baseline
from pipeline.backtest.baselines.half_life import Unit
from pipeline.backtest.baselines.ranks import ranks
from pipeline.backtest.baselines.registry import make_baselines
from pipeline.backtest.prepared_spans import PreparedSpan
from pipeline.backtest.results import Row
from pipeline.config import Config
from pipeline.metrics import RANKED
from pipeline.parameters.graph_parameters import GraphParameters
from trainer.input_pipeline import Positions, Sequences, concatenate

_AT_ONCE = 1000  # positions: what is asked of a baseline in one go


def baseline_rows(
    config: Config, spans: Sequence[PreparedSpan], on_span: Callable[[str], None], last: int | None = None
) -> list[list[Row]]:
    """The rows of each baseline that the settings name; none for a model that is judged by other metrics.

    Tested are, on each span but the first, all its events, with their histories and with what is left out of a list as
    for a model. All events of the spans before count, held out or not: they all came before. With `last` the spans
    before the last so many are learned and not tested.
    """
    given = GraphParameters.of(config)
    if frozenset(given.metrics) != RANKED:
        return []
    baselines = make_baselines(config.backtest, unit_of(config))
    rows = [[Row(baseline.name, 0, spans[0].name, "count", 0, {}, 0, 0, 0.0)] for baseline in baselines]
    untested = 0 if last is None else len(spans) - 1 - last
    for number, (before, span) in enumerate(itertools.pairwise(spans)):
        on_span(span.name)
        past = past_of(before, span)
        if number < untested:
            for baseline in baselines:
                baseline.learn(past)
            continue
        parts = asked_on(span, config.history.length)
        weights = event_weights(parts, given.weighted)
        for baseline, of_baseline in zip(baselines, rows, strict=True):
            baseline.learn(past)
            placed = [places(baseline, part, span.item_numbers, span.sizes.first_row, config) for part in parts]
            metrics = means(ranked(np.concatenate(placed), config.gate.k), weights)
            events = int(metrics.pop("events"))
            of_baseline.append(Row(baseline.name, 0, span.name, "count", events, metrics, 0, 0, 0.0))
    return rows


def unit_of(config: Config) -> Unit:
    """What a half-life is counted in."""
    hours = config.data.span_hours
    return "hours" if isinstance(hours, float) and hours < 24 else "days"


def past_of(before: PreparedSpan, span: PreparedSpan) -> Sequences:
    """What happened in the span before `span`, each event once: what was trained on, then what was held out.

    What was held out of a span is released to the next one, by when its items have their rows.
    """
    sequences, first_row = before.sequences, span.sizes.first_row
    trained = dataclasses.replace(sequences, key=before.sequence_keys, first_new=sequences.first_today)
    late = dataclasses.replace(span.sequences, key=span.sequence_keys)
    joined = concatenate([_plain(trained, first_row), _plain(_until_today(late), first_row)])
    return joined.take(np.flatnonzero(joined.first_new < np.diff(joined.splits)))


def asked_on(span: PreparedSpan, length: int) -> tuple[Positions, Positions]:
    """The events of `span`, trained on and held out, as baselines are asked: with keys, and histories of `length`."""
    first_row, sequences = span.sizes.first_row, span.sequences
    trained = dataclasses.replace(sequences, key=span.sequence_keys).positions(today_only=True)
    held_out = dataclasses.replace(span.held_out, key=span.held_out_keys)
    return _clipped(trained, length, first_row), _clipped(held_out, length, first_row)


def places(baseline: Baseline, asked: Positions, items: int, first_row: int, config: Config) -> np.ndarray:
    """Where each position's item stands, int64 [p], see `ranks`."""
    placed = [np.zeros(0, np.int64)]
    for begin in range(0, len(asked), _AT_ONCE):
        part = asked.take(np.arange(begin, min(begin + _AT_ONCE, len(asked))))
        placed.append(ranks(baseline.scores(part, items), part, first_row, config.push.exclude_seen))
    return np.concatenate(placed)


def _plain(sequences: Sequences, first_row: int) -> Sequences:
    items = np.where(sequences.items >= first_row, sequences.items, 0)
    return dataclasses.replace(sequences, items=items, query_features={})


def _until_today(sequences: Sequences) -> Sequences:
    """Each sequence without the span's own events, which are its last."""
    length = np.diff(sequences.splits)
    place = np.arange(len(sequences.items)) - np.repeat(sequences.splits[:-1], length)
    earlier = place < np.repeat(sequences.first_today, length)
    return Sequences(
        items=sequences.items[earlier],
        timestamps=sequences.timestamps[earlier],
        weights=sequences.weights[earlier],
        splits=np.concatenate([[0], np.cumsum(sequences.first_today)]).astype(np.int64),
        key=sequences.key,
        first_new=np.minimum(sequences.first_new, sequences.first_today),
        first_today=sequences.first_today,
    )


def _clipped(asked: Positions, length: int, first_row: int) -> Positions:
    items = np.where(asked.items >= first_row, asked.items, 0)
    begin = np.maximum(asked.begin, asked.end - length)
    return dataclasses.replace(asked, items=items, begin=begin, query_features={})
