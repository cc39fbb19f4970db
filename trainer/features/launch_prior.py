"""How many events a span an item of a kind gets: a Poisson regression that is learned from day to day."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.sparse

KEPT = 0.98  # of what a day has taught, a day later: kinds come into fashion and go out of it
_STEPS = 30
_LARGEST = 8.0  # log of a rate, so that a step too far stays a number


class Belief(NamedTuple):
    """Of each weight its mean and its precision, float64 [weights] each; before anything is learned 0 and `LEAST`."""

    mean: np.ndarray
    precision: np.ndarray


LEAST = 1.0  # precision of what nothing is known of


def rates(kinds: scipy.sparse.csr_matrix, mean: np.ndarray) -> np.ndarray:
    """Expected events of a span, float64 [n], of items of [n, weights] `kinds`."""
    return np.exp(np.clip(kinds @ mean, -2 * _LARGEST, _LARGEST))


def learned(belief: Belief, kinds: scipy.sparse.csr_matrix, events: np.ndarray) -> Belief:
    """The belief after one more span, in which the items of [n, weights] `kinds` got so many `events` [n].

    A normal distribution a weight stands for all spans before (Laplace's approximation with its diagonal: Chapelle and
    Li, "An empirical evaluation of Thompson sampling", NeurIPS 2011, algorithm 3, there for a logistic loss).
    """
    precision = KEPT * belief.precision + (1.0 - KEPT) * LEAST

    def loss(mean: np.ndarray) -> tuple[float, np.ndarray]:
        expected, moved = rates(kinds, mean), mean - belief.mean
        value = (expected - events * np.log(expected)).sum() + 0.5 * (precision * moved**2).sum()
        return float(value), kinds.T @ (expected - events) + precision * moved

    options = {"maxiter": _STEPS}
    mean = scipy.optimize.minimize(loss, belief.mean, jac=True, method="L-BFGS-B", options=options).x
    return Belief(mean, precision + kinds.multiply(kinds).T @ rates(kinds, mean))
