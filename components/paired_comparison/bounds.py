"""How sure the mean of paired differences is, when the events of a key are not independent of each other."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np
from scipy import stats

Outcome = Literal["worse", "not worse", "not enough evidence"]
_PSEUDO = 0.5  # half an event won and half an event lost, of a gain of 1 each, squared
_ROUNDING = 1e-12  # a mean that is `max_drop` but for its last digits is not beyond it


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean gain and its bounds.

    Attributes:
      mean: of the gains, above 0 where the candidate is better; not a number where no event counts.
      lower, upper: one-sided bounds of the same confidence each; infinite where there are too few keys.
      events: how many events.
      keys: of how many keys.
    """

    mean: float
    lower: float
    upper: float
    events: int
    keys: int

    def __neg__(self) -> Interval:
        return dataclasses.replace(self, mean=-self.mean, lower=-self.upper, upper=-self.lower)


def interval(gains: np.ndarray, weights: np.ndarray, keys: np.ndarray, confidence: float) -> Interval:
    """The weighted mean of `gains` and its bounds, clustered by key.

    The variance is the cluster-robust one (Liang and Zeger, "Longitudinal data analysis using generalized linear
    models", 1986) with the factor G / (G - 1) for G keys. It is too small where few keys hold most events (Cameron,
    Gelbach and Miller, "Bootstrap-based improvements for inference with clustered errors", 2008), so the quantile is
    Student's t with one degree of freedom less than the effective number of keys, (sum of w)^2 / sum of w_g^2 with w_g
    the weight of a key's events (Carter, Schnepel and Steigerwald, "Asymptotic behavior of a t-test robust to cluster
    heterogeneity", 2017). Half an event won and half an event lost are added to the variance, as Agresti and Min do for
    matched pairs ("Simple improved confidence intervals for comparing matched proportions", 2005): on thirty events
    without any difference two models may yet differ. `benchmarks/gate_trials.py` holds it against a bootstrap by key.

    Args:
      gains: float [n], a pair's difference each.
      weights: float [n], how much each counts, none below 0.
      keys: int [n], events of one number belong together.
      confidence: of each bound, above .5 and below 1.
    """
    total = float(weights.sum())
    if not total:
        return Interval(math.nan, -math.inf, math.inf, len(gains), 0)
    mean = float((weights * gains).sum() / total)
    _, cluster = np.unique(keys, return_inverse=True)
    size = np.bincount(cluster, weights=weights)
    score = np.bincount(cluster, weights=weights * (gains - mean))[size > 0]
    count, effective = len(score), total**2 / float((size**2).sum())
    if count < 2:
        return Interval(mean, -math.inf, math.inf, len(gains), count)
    unseen = _PSEUDO * (total / len(gains)) ** 2
    error = math.sqrt(count / (count - 1) * float((score**2).sum()) + unseen) / total
    half = float(stats.t.ppf(confidence, effective - 1)) * error
    return Interval(mean, mean - half, mean + half, len(gains), count)


def beyond(bounds: Interval, allowed: float) -> bool:
    """Whether the loss is more than `allowed`, and is one by the bound: chance alone would not have made it."""
    return bounds.upper < 0 and bounds.mean < -allowed - _ROUNDING


def outcome(bounds: Interval, max_drop: float, min_events: int) -> Outcome:
    """What the bounds say of a candidate that may lose `max_drop`.

    `worse`: it loses more than `max_drop`, and by the upper bound loses at all. `not worse`: by the lower bound it
    loses no more than `max_drop` (a test of non-inferiority). `not enough evidence`: neither, or there are fewer than
    `min_events` events.
    """
    if bounds.events < min_events or math.isnan(bounds.mean):
        return "not enough evidence"
    if beyond(bounds, max_drop):
        return "worse"
    return "not worse" if bounds.lower >= -max_drop - _ROUNDING else "not enough evidence"
