"""What a metric's values, a position each, come to over many positions: their mean, but for a few."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from trainer.keras2 import tf

_THRESHOLD = 0.5  # from which probability on `f1` takes an event for a positive one
_BELOW_ONE = 1.0 - 2.0**-20  # of a probability: 1 would be a label


def labelled(probability: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
    """A prediction beside what was observed, in one number a position: label + probability, float32 [b]."""
    return label + tf.minimum(probability, _BELOW_ONE)


def aggregate(metric: str, values: np.ndarray, weights: np.ndarray) -> float:
    """The metric over all positions; NaN where it is not defined.

    `rmse` is the root of the mean of squares, `roc_auc` the area under the curve over the positions' labels (a tie is
    one half), `f1` that of positives from probability 0.5 on; of both the values are those of `labelled`. All others
    are means.

    Args:
      metric: its name.
      values: float64 [p], as `Recommender.evaluate_positions` gives them.
      weights: float64 [p], how much each position counts, none below 0.
    """
    return _mean(contributions(metric, values, weights), weights)


def levels(values: Mapping[str, np.ndarray], weights: np.ndarray) -> dict[str, float]:
    """Metric to its value over some positions, float64 [p] each, of those that are defined there."""
    every = {name: aggregate(name, of, weights) for name, of in values.items()}
    return {name: level for name, level in every.items() if math.isfinite(level)}


def contributions(metric: str, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """What each position contributes: float64 [p], whose mean by `weights` is the metric.

    For what is no mean the metric is made linear about its value (the infinitesimal jackknife: Efron, "Nonparametric
    estimates of standard error", Biometrika 68, 1981); of `roc_auc` these are the placements of DeLong, DeLong and
    Clarke-Pearson (Biometrics 44, 1988). So the difference of two models' contributions is a paired difference an
    event, whose mean is exactly the difference of the metrics.
    """
    of = {"rmse": _root, "roc_auc": _placements, "f1": _f1}.get(metric)
    return values if of is None or not len(values) else of(values, weights)


def is_mean(metric: str) -> bool:
    """Whether the metric is the mean of its values."""
    return metric not in ("rmse", "roc_auc", "f1")


def _mean(values: np.ndarray, weights: np.ndarray) -> float:
    return float(np.average(values, weights=weights)) if weights.any() else math.nan


def _root(squares: np.ndarray, weights: np.ndarray) -> np.ndarray:
    mean = _mean(squares, weights)
    root = math.sqrt(mean)
    return root + (squares - mean) / (2 * root) if root else np.full_like(squares, root)


def _placements(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    positive, score = values >= 1.0, values % 1.0
    of_positives, of_negatives = weights[positive].sum(), weights[~positive].sum()
    if not of_positives or not of_negatives:
        return np.full(len(values), math.nan)
    placements = np.empty(len(values))
    placements[positive] = _share_below(score[positive], score[~positive], weights[~positive])
    placements[~positive] = 1.0 - _share_below(score[~positive], score[positive], weights[positive])
    area = _mean(placements[positive], weights[positive])
    share = np.where(positive, of_positives, of_negatives) / weights.sum()
    return area + (placements - area) / share


def _share_below(scores: np.ndarray, others: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Which share of the others, by their weights, each score is above; a tie is one half."""
    order = np.argsort(others)
    sums = np.concatenate([[0.0], np.cumsum(weights[order])])
    below = sums[np.searchsorted(others[order], scores, side="left")]
    up_to = sums[np.searchsorted(others[order], scores, side="right")]
    return (below + up_to) / (2 * sums[-1])


def _f1(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    positive, taken = values >= 1.0, values % 1.0 >= _THRESHOLD
    right, wrong = (positive & taken).astype(np.float64), (positive != taken).astype(np.float64)
    hits, errors = _mean(right, weights), _mean(wrong, weights)
    whole = 2 * hits + errors
    if not whole > 0:
        return np.full(len(values), math.nan)
    return 2 * hits / whole + 2 * (errors * (right - hits) - hits * (wrong - errors)) / whole**2
