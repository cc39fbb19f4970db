"""A TFMA metric: what the values of a metric come to by the events' weights (`trainer.metric_aggregation`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util

from trainer.metric_aggregation import aggregate

Values = list[tuple[float, float]]  # each with its weight


class Aggregate(metric_types.Metric):
    """`aggregate(metric, predictions, example weights)`, weights below 0 taken for 0 as in the loss."""

    def __init__(self, metric: str, name: str = "aggregate") -> None:
        super().__init__(metric_util.merge_per_key_computations(_computations), metric=metric, name=name)


def _computations(
    metric: str,
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
    combiner = _Combiner(metric, key, eval_config)
    return [metric_types.MetricComputation(keys=[key], preprocessors=None, combiner=combiner)]


class _Combiner(beam.CombineFn):
    def __init__(self, metric: str, key: metric_types.MetricKey, eval_config: Any) -> None:
        self._metric, self._key, self._config = metric, key, eval_config

    def create_accumulator(self) -> Values:
        return []

    def add_input(self, values: Values, element: Any) -> Values:
        for _, prediction, weight in metric_util.to_label_prediction_example_weight(
            element,
            eval_config=self._config,
            model_name=self._key.model_name,
            output_name=self._key.output_name,
            example_weighted=self._key.example_weighted,
        ):
            values.append((float(np.sum(prediction)), max(float(weight[0]), 0.0)))
        return values

    def merge_accumulators(self, parts: Iterable[Values]) -> Values:
        return [value for part in parts for value in part]

    def extract_output(self, values: Values) -> dict[metric_types.MetricKey, float]:
        every = np.array(values, np.float64).reshape(-1, 2)
        return {self._key: aggregate(self._metric, every[:, 0], every[:, 1])}
