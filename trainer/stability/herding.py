"""Herding: the exemplars of an item are those whose mean is the mean of all its sessions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trainer.features.query_values import with_values
from trainer.keras2 import tf
from trainer.models.base import Recommender
from trainer.stability.base import PolicyError
from trainer.stability.selection import Pool, Selection, by_label_share

Represent = Callable[[Pool], np.ndarray]
"""float32 [s, d], the vector of each sequence before its last item."""

_BATCH = 1024


def herding(represent: Represent) -> Selection:
    """Each item has its share as under `frequency`; within it, the sessions that together stand for all stay.

    Welling, "Herding dynamical weights to learn", ICML 2009, as used by iCaRL (Rebuffi et al., CVPR 2017, algorithm 4):
    each next exemplar brings the mean of those chosen nearest to the mean of all, in the space of unit vectors. The
    first to go when a budget shrinks are the last chosen.
    """

    def numbers(pool: Pool) -> np.ndarray:
        labels = pool.labels
        vectors = represent(pool)
        norm = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = vectors / np.where(norm > 0, norm, 1.0)
        rank = np.empty(len(labels), np.int64)
        # Beyond its share of the budget an item's order does not matter.
        share = min(1.0, pool.budget / max(len(labels), 1))
        by_label = np.argsort(labels, kind="stable")
        for members in np.split(by_label, np.flatnonzero(np.diff(labels[by_label])) + 1):
            if len(members):
                rank[members] = herding_rank(vectors[members], int(np.ceil(share * len(members))) + 1)
        return by_label_share(labels, rank)

    return numbers


def herding_rank(vectors: np.ndarray, chosen: int) -> np.ndarray:
    """int64 [n], the place of each of the [n, d] `vectors` in the order of choice, exact for the first `chosen`."""
    count = len(vectors)
    order: list[int] = []
    mean, total = vectors.mean(axis=0), np.zeros_like(vectors[0])
    left = np.ones(count, bool)
    length = np.square(vectors).sum(axis=1)
    for number in range(1, min(chosen, count) + 1):
        # |number * mean - total - v|^2 without what is the same for all.
        distance = length - 2.0 * (vectors @ (number * mean - total))
        best = int(np.argmin(np.where(left, distance, np.inf)))
        left[best] = False
        total = total + vectors[best]
        order.append(best)
    rank = np.empty(count, np.int64)
    rank[[*order, *np.flatnonzero(left)]] = np.arange(count)
    return rank


def representations(model: Recommender, history_length: int) -> Represent:
    """Vectors by `model.represent(key, history)`, int64 [b] and [b, h] to float32 [b, d].

    Raises:
      PolicyError: the model has none.
    """
    if not hasattr(model, "represent"):
        raise PolicyError(
            "`update.stability.replay.selection: herding` needs a model with a method `represent(key, history)`, as "
            f"`sasrec` has. Received: {type(model).__name__}. Choose `frequency`."
        )
    step = tf.function(model.represent, reduce_retracing=True, autograph=False)

    def represent(pool: Pool) -> np.ndarray:
        begin, end = pool.sequences.splits[:-1], pool.sequences.splits[1:] - 1
        items = np.append(pool.sequences.items, 0)
        vectors = []
        for start in range(0, len(pool.span), _BATCH):
            part = slice(start, start + _BATCH)
            at = end[part, None] + np.arange(-history_length, 0)
            history = np.where(at >= begin[part, None], items[np.maximum(at, 0)], 0)
            # Of the last event, which is what the history before it stands for.
            values = {name: tf.constant(of[end[part]]) for name, of in pool.sequences.query_features.items()}
            key = with_values(tf.constant(pool.sequences.key[part]), values)
            vectors.append(step(key, tf.constant(history)).numpy())
        return np.concatenate(vectors) if vectors else np.zeros((0, 1), np.float32)

    return represent
