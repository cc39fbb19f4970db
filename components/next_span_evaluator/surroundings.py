"""What the champion's figures on a span are to be seen beside: most popular items, bounds, what it recommends."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from components.next_span_evaluator.shelf import ids_of
from components.surroundings import Bounds, Surroundings
from trainer.diagnostics import beyond_accuracy, last_position_per_key
from trainer.features.query_values import row_of
from trainer.input_pipeline import Positions, Sequences
from trainer.keras2 import tf
from trainer.metric_aggregation import contributions
from trainer.vocabulary import Vocabulary

CONFIDENCE = 0.975  # of each bound: 95 % lie between the two
USERS = 1000  # whose lists are asked for
_BATCH = 256
_CELLS = 1 << 26  # scores of one request, at most


def popular_before(sequences: Sequences, items: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """How popular each item row was before the span, float64 [items.size], and whether it was there, bool [items.size].

    The span's vocabulary counts what was trained on with it: the span's own events are taken out again. What was held
    out of the span before stays in: it came before, if the champion knows it or not.

    Args:
      sequences: of the span.
      items: the span's vocabulary.
    """
    nothing = np.zeros(items.first_row)
    today = sequences.positions(today_only=True).target
    recent = np.concatenate([nothing, items.recent]) - np.bincount(today, minlength=items.size)[: items.size]
    counts = np.concatenate([nothing, items.counts])
    counts -= np.bincount(sequences.positions().target, minlength=items.size)[: items.size]
    recent[: items.first_row] = 0.0
    return np.where(recent > 1e-9, recent, 0.0), counts > 0  # a difference of sums, which may come to just not nought


def popularity_ranks(
    positions: Positions, popularity: np.ndarray, first_row: int, length: int, exclude_seen: bool
) -> np.ndarray:
    """At which place each position's item stands among all by `popularity` [items], int64 [p], 0 is best.

    As `trainer.metrics.rank_of` has it: ties count against the item, one without a row has the worst place. With
    `exclude_seen` the last `length` items before the position are left out.
    """
    order = np.sort(popularity[first_row:])
    known = (positions.target >= first_row) & (positions.target < len(popularity))
    target = np.where(known, positions.target, 0)
    score = popularity[target]
    ranks = len(order) - np.searchsorted(order, score, side="left") - 1
    if exclude_seen:
        begin = np.maximum(positions.begin, positions.end - length)
        for at in np.flatnonzero(known):
            seen = np.unique(positions.items[begin[at] : positions.end[at]])
            seen = seen[(seen >= first_row) & (seen < len(popularity)) & (seen != target[at])]
            ranks[at] -= np.count_nonzero(popularity[seen] >= score[at])
    return np.where(known, ranks, len(popularity))


def ranked(ranks: np.ndarray, k: int) -> dict[str, np.ndarray]:
    """What `trainer.metrics.ranking_metrics` says of ranks [p], float64 [p] each."""
    hit = (ranks < k).astype(np.float64)
    return {"recall": hit, "ndcg": hit * math.log(2.0) / np.log(ranks + 2.0), "mrr": hit / (ranks + 1.0)}


def clusters(parts: tuple[Positions, ...], first_row: int) -> np.ndarray:
    """Which positions are of a key, int64 [p]: of one without a row those of a history."""
    numbers, used = [], 0
    for positions in parts:
        numbers.append(np.where(positions.key >= first_row, positions.key, -1 - used - positions.begin))
        used += len(positions.items) + 1
    return np.concatenate(numbers)


def bounded(values: Mapping[str, np.ndarray], weights: np.ndarray, keys: np.ndarray) -> dict[str, Bounds]:
    """The mean of each metric's values [p] by `weights` [p], with bounds clustered by `keys` [p].

    Where there are too few keys for bounds there are none.
    """
    from components.paired_comparison.bounds import interval  # its package asks for this one

    intervals = {name: interval(of, weights, keys, CONFIDENCE) for name, of in values.items()}
    return {name: (of.mean, of.lower, of.upper) for name, of in intervals.items() if math.isfinite(of.lower)}


def surroundings_of(
    values: Mapping[str, np.ndarray],
    parts: tuple[Positions, Positions],
    sequences: Sequences,
    vocabulary_uri: str,
    weights: np.ndarray,
    recommend: Callable[..., Mapping[str, Any]] | None,
    length: int,
    k: int,
    exclude_seen: bool,
) -> Surroundings:
    """What the champion's `values` [p] a metric on the span's positions are to be seen beside, `slices` left out.

    Args:
      values: see `per_position`.
      parts: the span's positions, those to be trained on and those held out.
      sequences: of the span.
      vocabulary_uri: folder of the span's vocabularies.
      weights: float64 [p].
      recommend: see `recommended`; None for a bundle without it.
      length: of a history.
      k: of a list.
      exclude_seen: whether what is in the history is left out of a list.
    """
    items, keys = Vocabulary.load(vocabulary_uri, "items"), Vocabulary.load(vocabulary_uri, "keys")
    popularity, there = popular_before(sequences, items)
    cluster = clusters(parts, keys.first_row)
    ranks = [popularity_ranks(part, popularity, items.first_row, length, exclude_seen) for part in parts]
    popular = {name: of for name, of in ranked(np.concatenate(ranks), k).items() if name in values}
    gains = {name: values[name] - of for name, of in popular.items()}
    return Surroundings(
        bounded({name: contributions(name, of, weights) for name, of in values.items()}, weights, cluster),
        bounded(popular, weights, cluster),
        bounded(gains, weights, cluster),
        {},
        {} if recommend is None else recommended(recommend, parts, items, keys, popularity, there, length, k),
    )


def recommended(
    recommend: Callable[..., Mapping[str, Any]],
    parts: tuple[Positions, ...],
    items: Vocabulary,
    keys: Vocabulary,
    popularity: np.ndarray,
    there: np.ndarray,
    length: int,
    k: int,
) -> dict[str, float]:
    """`served_lists` of `Surroundings`: what the bundle answers to the span's users, at the last event of each.

    Args:
      recommend: the bundle's signature `serving_default`.
      parts: the span's positions; rows of `items` and `keys`.
      items, keys: the span's vocabularies.
      popularity, there: see `popular_before`.
      length: of a history.
      k: of a list.
    """
    lists, targets = [], []
    for positions in parts:
        asked = last_position_per_key(positions, keys.first_row, USERS // len(parts))
        at_once = max(1, min(_BATCH, _CELLS // items.size))
        for batch in asked.dataset(at_once, length) if len(asked) else ():
            history, user = ids_of(items, batch["history"].numpy()), ids_of(keys, row_of(batch["key"]).numpy())
            answer = recommend(user_id=tf.constant(user, tf.string), history=tf.constant(history, tf.string))[
                "item_ids"
            ].numpy()[:, :k]
            known = items.lookup(answer.ravel()).reshape(answer.shape)
            lists.append(np.where((answer == b"") | (known < items.first_row), -1, known))
            targets.append(batch["item"].numpy())
    if not lists:
        return {}
    first = items.first_row
    figures = beyond_accuracy(np.concatenate(lists), np.concatenate(targets), popularity, first, there[first:])
    names = {"recommended/popularity_percentile": "recommended", "held_out/popularity_percentile": "taken"}
    return {names.get(name, name.removeprefix("recommended/")): value for name, value in figures.items()}
