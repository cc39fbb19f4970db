"""A TFMA metric: the mean prediction by the events' weights, for models whose loss counts by them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util

Sums = tuple[float, float]


class WeightedMean(metric_types.Metric):
    """sum(w * x) / sum(w) over predictions x with example weights w, those below 0 taken for 0 as in the loss.

    Not TFMA's `MeanPrediction`, which would let a weight below 0 take away from the others.
    """

    def __init__(self, name: str = "mean_prediction") -> None:
        super().__init__(metric_util.merge_per_key_computations(_computations), name=name)


def _computations(
    name: str,
    eval_config: Any = None,
    model_name: str = "",
    output_name: str = "",
    sub_key: Any = None,
    aggregation_type: Any = None,
    class_weights: Any = None,
    example_weighted: bool = False,
) -> list[metric_types.MetricComputation]:
    del aggregation_type, class_weights
    key = metric_types.MetricKey(
        name=name, model_name=model_name, output_name=output_name, sub_key=sub_key, example_weighted=example_weighted
    )
    return [metric_types.MetricComputation(keys=[key], preprocessors=None, combiner=_Combiner(key, eval_config))]


class _Combiner(beam.CombineFn):
    def __init__(self, key: metric_types.MetricKey, eval_config: Any) -> None:
        self._key, self._config = key, eval_config

    def create_accumulator(self) -> Sums:
        return 0.0, 0.0

    def add_input(self, sums: Sums, element: Any) -> Sums:
        total, weights = sums
        for _, prediction, weight in metric_util.to_label_prediction_example_weight(
            element,
            eval_config=self._config,
            model_name=self._key.model_name,
            output_name=self._key.output_name,
            example_weighted=self._key.example_weighted,
        ):
            counts = max(float(weight[0]), 0.0)
            total += float(np.sum(prediction)) * counts
            weights += counts
        return total, weights

    def merge_accumulators(self, parts: Iterable[Sums]) -> Sums:
        parts = list(parts)
        return sum(total for total, _ in parts), sum(weights for _, weights in parts)

    def extract_output(self, sums: Sums) -> dict[metric_types.MetricKey, float]:
        total, weights = sums
        return {self._key: total / weights if weights else math.nan}
