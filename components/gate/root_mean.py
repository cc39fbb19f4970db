"""A TFMA metric: the root of the mean prediction, for models that give a squared error a position."""

from __future__ import annotations

import functools

from tensorflow_model_analysis.metrics import metric_types, metric_util

from components.gate.weighted_mean import mean_computations


class RootMean(metric_types.Metric):
    """sqrt(sum(w * x) / sum(w)) over predictions x with example weights w, those below 0 taken for 0."""

    def __init__(self, name: str = "root_mean") -> None:
        computations = functools.partial(mean_computations, root=True)
        super().__init__(metric_util.merge_per_key_computations(computations), name=name)
