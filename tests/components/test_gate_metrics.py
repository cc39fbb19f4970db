"""Metrics of the gate by the paths at which evaluations name them, those of earlier versions too."""

from __future__ import annotations

import importlib
import math

import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types

# TFMA's own reading of weights.
pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array:DeprecationWarning")


@pytest.mark.parametrize(
    ("module", "name", "arguments", "expected"),
    [
        ("aggregate", "Aggregate", {"metric": "recall"}, 3.0),
        ("aggregate", "Aggregate", {"metric": "rmse"}, math.sqrt(3.0)),
        ("root_mean", "RootMean", {}, math.sqrt(3.0)),
        ("weighted_mean", "WeightedMean", {}, 3.0),
    ],
)
def test_a_weight_below_0_counts_as_0(module, name, arguments, expected):
    metric = getattr(importlib.import_module(f"components.gate.{module}"), name)(**arguments)
    again = type(metric)(**metric.get_config())
    (computation,) = again.computations(eval_config=tfma.EvalConfig(), example_weighted=True)
    combiner = computation.combiner
    values = combiner.create_accumulator()
    for prediction, weight in ((2.0, 1.0), (4.0, 1.0), (9.0, -5.0)):
        values = combiner.add_input(
            values, metric_types.StandardMetricInputs(label=[0.0], prediction=[prediction], example_weight=[weight])
        )
    (result,) = combiner.extract_output(combiner.merge_accumulators([values])).values()
    assert result == pytest.approx(expected)
