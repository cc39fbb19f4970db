"""Magnitude pruning: the smallest weights are taken for zero.

Han, Pool, Tran and Dally, "Learning both weights and connections for efficient neural networks", NIPS 2015, section 3,
and Zhu and Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression", 2017, section
3, there a layer at a time. Here it happens once, when a model is exported, and to what is exported alone: the state
that the next day starts from keeps every weight.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf


def largest_of_rows(values: np.ndarray, share: float) -> np.ndarray:
    """Which weights of each row of [n, d] stay, bool [n, d]: as many in each, at least one, `share` of it not.

    By row and not by table: what has few events has a short vector, and a table's threshold would take all of it.
    """
    width = values.shape[1]
    kept = np.zeros(values.shape, bool)
    stay = max(1, width - round(share * width)) if width else 0
    if stay == width:
        return ~kept
    largest = np.argpartition(-np.abs(values), stay - 1, axis=1)[:, :stay]
    np.put_along_axis(kept, largest, True, axis=1)
    return kept


def largest(values: np.ndarray, share: float) -> np.ndarray:
    """Which weights of a kernel of any shape stay, bool of that shape: all but `share` of them, rounded down."""
    gone = np.argsort(np.abs(values), axis=None, kind="stable")[: int(share * values.size)]
    kept = np.ones(values.size, bool)
    kept[gone] = False
    return kept.reshape(values.shape)


@contextlib.contextmanager
def pruned(tables: Sequence[tf.Variable], kernels: Sequence[tf.Variable], share: float) -> Iterator[None]:
    """Within it the smallest weights of the variables are zero; after it they are what they were."""
    whole = [(variable, variable.numpy()) for variable in (*tables, *kernels)] if share else []
    try:
        for at, (variable, values) in enumerate(whole):
            kept = largest_of_rows(values, share) if at < len(tables) else largest(values, share)
            variable.assign(values * kept)
        yield
    finally:
        for variable, values in whole:
            variable.assign(values)
