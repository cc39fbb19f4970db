"""How a freshly trained model is: lengths of its vectors, neighbours that changed, what it recommends.

Of tables and scores that the trainer holds anyway; nothing of it needs a label. `docs/tensorboard.md` lists the
figures with their definitions.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import scipy.stats

from trainer.input_pipeline import Positions
from trainer.keras2 import tf
from trainer.metrics import UNAVAILABLE
from trainer.models.base import Recommender, VocabularyName
from trainer.train_state import Arrays

Histogram = list[list[float]]
"""Buckets of left edge, right edge and count."""

NEIGHBOURS, SAMPLE = 10, 200  # neighbours of an item; items, and held-out users, that are looked at
AMONG = 100_000  # items, at most, that neighbours are sought among
_PERCENTILES = (5, 50, 95)
_BUCKETS = 30
_CELLS = 1 << 25  # scores, or cosines, that are held at once
_USERS_AT_ONCE = 50


@dataclasses.dataclass(frozen=True)
class Diagnostics:
    """Figures of one model, by tag.

    Attributes:
      numbers: finite ones only; what there was nothing to measure by is absent.
      histograms: see `Histogram`.
    """

    numbers: Mapping[str, float]
    histograms: Mapping[str, Histogram]

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True))

    @classmethod
    def load(cls, path: Path) -> Diagnostics:
        return cls(**json.loads(path.read_text()))


def measure(
    model: Recommender,
    weights: Arrays,
    before: Arrays | None,
    held_out: Positions,
    recent: np.ndarray,
    k: int,
    exclude_seen: bool,
    available: np.ndarray | None = None,
) -> Diagnostics:
    """Measures a trained model that is not frozen yet.

    Args:
      model: the model, and `weights`, its variables by path.
      before: those of the model that was in service; None without one.
      held_out: positions that it was not trained on.
      recent: float64 [items], how often each item row occurred, of late above all.
      k: length of a list of recommendations.
      exclude_seen: whether items of the history are left out of it.
      available: bool [items - first_row], False for an item that is withdrawn; None where none is.
    """
    first = model.sizes.first_row
    numbers: dict[str, float] = {}
    histograms: dict[str, Histogram] = {}
    vocabularies: tuple[VocabularyName, ...] = ("items", "keys")
    for name in vocabularies:
        item_table = vectors(model.tables, weights, name)
        if item_table is None:
            continue
        path, table = item_table
        old = None if before is None else before.get(path)
        lengths = np.sqrt(np.einsum("id,id->i", table[first:], table[first:], dtype=np.float64))
        known = 0 if old is None else min(max(len(old) - first, 0), len(lengths))
        for part, of in (("old", lengths[:known]), ("new", lengths[known:])):
            numbers |= {f"norms/{name}/{part}/{figure}": value for figure, value in spread(of).items()}
        if len(lengths):
            histograms[f"norms/{name}"] = histogram(lengths)
        if name == "items" and old is not None:
            numbers |= churn(old[first:], table[first:])
    positions = last_position_per_key(held_out, first)
    if len(positions) and len(recent) > first:
        listed, ranks = recommend(model, positions, k, exclude_seen, available)
        numbers |= beyond_accuracy(listed, positions.target, recent, first, available)
        if len(ranks):
            numbers["held_out/median_rank"] = float(np.median(ranks))
            histograms["held_out/log10_rank"] = histogram(np.log10(1.0 + ranks))
    return Diagnostics({name: float(number) for name, number in numbers.items() if math.isfinite(number)}, histograms)


def vectors(
    tables: Mapping[str, VocabularyName], weights: Mapping[str, np.ndarray], vocabulary: VocabularyName
) -> tuple[str, np.ndarray] | None:
    """Path and values of the first table of `vocabulary`, in the order of `tables`, that has a vector a row.

    Args:
      tables: as in `Recommender.tables`.
      weights: by path; of an opened `.npz` file no more is read than needed.
      vocabulary: which.
    """
    for table, name in tables.items():
        for path in weights if name == vocabulary else ():
            if path == table or path.startswith(table + "/"):
                value = weights[path]
                if value.ndim == 2 and value.shape[1] > 1:
                    return path, value
    return None


def spread(values: np.ndarray) -> dict[str, float]:
    """Mean and percentiles; nothing of no value."""
    if not len(values):
        return {}
    percentiles = np.percentile(values, _PERCENTILES)
    return {
        "mean": float(np.mean(values)),
        **{f"p{percent:02d}": float(value) for percent, value in zip(_PERCENTILES, percentiles, strict=True)},
    }


def histogram(values: np.ndarray) -> Histogram:
    """Equal buckets from the least to the greatest of the finite values."""
    counts, edges = np.histogram(values[np.isfinite(values)], bins=_BUCKETS)
    return [[float(left), float(right), float(n)] for left, right, n in zip(edges, edges[1:], counts, strict=False)]


def churn(
    before: np.ndarray, after: np.ndarray, sample: int = SAMPLE, k: int = NEIGHBOURS, among: int = AMONG
) -> dict[str, float]:
    """Of the nearest neighbours of a sample of items, the share that changed: 0 for none, 1 for all.

    One minus the stability of Wendlandt, Kummerfeld, Mihalcea, "Factors influencing the surprising instability of word
    embeddings" (NAACL 2018): the overlap of the ten nearest neighbours by cosine in two embedding spaces.
    Looked at are items that both models have, so that a new item drives none away, and of many of them neighbours are
    sought among a sample, which tells as much of the space. Samples are those of the smallest of numbers drawn once for
    each row: the same items from day to day, but for the few that a larger table brings in.

    Args:
      before: float [n, d] of yesterday's model.
      after: float [m, e], m >= n, of today's; the same rows first.
      sample: how many items are looked at.
      k: neighbours of each.
      among: how many items they are sought among, at least as many as are looked at.
    """
    both = min(len(before), len(after))
    k = min(k, both - 1, among - 1)
    if k < 1:
        return {}
    order = np.argsort(np.random.default_rng(0).random(both), kind="stable")
    where = np.sort(order[:among])
    rows = np.searchsorted(where, order[:sample])
    pairs = zip(nearest(before[where], rows, k), nearest(after[where], rows, k), strict=True)
    kept = [len(np.intersect1d(old, new)) / k for old, new in pairs]
    return {"neighbours/churn": 1.0 - float(np.mean(kept)), "neighbours/items": float(len(rows))}


def nearest(table: np.ndarray, rows: np.ndarray, k: int) -> np.ndarray:
    """int64 [r, k]: the rows of float [n, d] nearest to each of int64 [r] by cosine, itself left out; in no order."""
    norms = np.sqrt(np.einsum("id,id->i", table, table))
    per_length = tf.constant(1.0 / np.where(norms > 0, norms, 1.0), tf.float32)
    whole = tf.constant(table, tf.float32)  # once: every product would copy it
    step = max(1, _CELLS // len(table))
    neighbours = []
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        cosine = tf.matmul(tf.gather(whole, part), whole, transpose_b=True) * per_length
        own = tf.stack([tf.range(len(part), dtype=tf.int64), tf.constant(part, tf.int64)], axis=1)
        cosine = tf.tensor_scatter_nd_update(cosine, own, tf.fill([len(part)], np.float32(-np.inf)))
        neighbours.append(tf.math.top_k(cosine, k, sorted=False).indices.numpy())
    return np.concatenate(neighbours)


def last_position_per_key(held_out: Positions, first_row: int, most: int = SAMPLE) -> Positions:
    """The last position of each key, evenly thinned out; keys without a row of their own can't be told apart."""
    last = {int(key): at for at, key in enumerate(held_out.key) if key >= first_row}
    chosen = np.sort(np.concatenate([np.array([*last.values()], np.int64), np.flatnonzero(held_out.key < first_row)]))
    at = np.linspace(0, len(chosen) - 1, min(len(chosen), most))
    return held_out.take(chosen[np.unique(at.astype(np.int64))] if len(chosen) else chosen)


def recommend(
    model: Recommender, positions: Positions, k: int, exclude_seen: bool, available: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """What is recommended at each position, and at which place the item stands that came.

    Returns:
      int64 [p, k] item rows, -1 where there are fewer; and int64 [q] ranks (0 is best) of the items that have a row,
      ties counting against them.
    """
    first, rows = model.sizes.first_row, model.sizes.items
    k = min(k, rows - first)
    lists, ranks = [], []
    shown = np.arange(rows) >= first
    if available is not None:
        shown[first:] &= available
    at_once = max(1, _CELLS // rows)
    for batch in positions.dataset(min(at_once, _USERS_AT_ONCE), model.history_length):
        history, item = batch["history"], batch["item"]
        scores = model.score_all(batch["key"], history)
        item_score = tf.gather(scores, item, batch_dims=1)[:, None]
        scores = tf.where(tf.constant(shown), scores, UNAVAILABLE)
        if exclude_seen:
            owner = tf.broadcast_to(tf.range(len(item), dtype=tf.int64)[:, None], tf.shape(history))
            at = tf.reshape(tf.stack([owner, history], axis=-1), [-1, 2])
            scores = tf.tensor_scatter_nd_update(scores, at, tf.fill([tf.shape(at)[0]], UNAVAILABLE))
        better = tf.reduce_sum(tf.cast(~(scores < item_score), tf.int64), axis=1).numpy()
        itself = ~(tf.gather(scores, item, batch_dims=1)[:, None] < item_score).numpy()[:, 0]
        ranks.append((better - itself)[item.numpy() >= first])
        best = tf.math.top_k(scores, k, sorted=False)
        lists.append(np.where(best.values.numpy() > UNAVAILABLE, best.indices.numpy().astype(np.int64), -1))
    return np.concatenate(lists), np.concatenate(ranks)


def beyond_accuracy(
    lists: np.ndarray, targets: np.ndarray, recent: np.ndarray, first_row: int, available: np.ndarray | None = None
) -> dict[str, float]:
    """How much of the catalogue is recommended, how evenly, and how popular it is.

    `coverage` is catalogue coverage (Ge, Delgado-Battenfeld, Jannach, "Beyond accuracy: evaluating recommender systems
    by coverage and serendipity", RecSys 2010): the share of the catalogue in at least one list. `gini` is
    the Gini index of how often each item is recommended (Shani, Gunawardana, "Evaluating recommendation systems",
    Recommender Systems Handbook, 2011, its section on coverage): 0 if all are equally often, 1 if always the same. A
    popularity percentile is an item's rank by `recent`, from 0 for the least to 1 for the most popular, averaged over
    what is recommended, and over what came.

    Args:
      lists: int64 [p, k] item rows, -1 for none.
      targets: int64 [p] item rows that came.
      recent: float64 [items].
      first_row: of the items.
      available: bool [items - first_row], or None for all.
    """
    rows = lists[lists >= first_row] - first_row
    there = np.ones(len(recent) - first_row, bool) if available is None else available
    catalogue = int(there.sum())
    if not len(rows) or not catalogue:
        return {}
    often = np.sort(np.bincount(rows, minlength=len(there))[there])
    place = np.arange(1, catalogue + 1)
    gini = np.sum((2 * place - catalogue - 1) * often) / (often.sum() * max(catalogue - 1, 1))
    popular = (scipy.stats.rankdata(recent[first_row:]) - 1.0) / max(len(there) - 1, 1)
    came = targets[targets >= first_row] - first_row
    return {
        "recommended/coverage": np.count_nonzero(often) / catalogue,
        "recommended/distinct_items": float(np.count_nonzero(often)),
        "recommended/gini": float(gini),
        "recommended/users": float(len(lists)),
        "recommended/popularity_percentile": float(np.mean(popular[rows])),
        **({"held_out/popularity_percentile": float(np.mean(popular[came]))} if len(came) else {}),
    }
