"""The gate's thresholds and slices as TFMA's EvalConfig."""

from __future__ import annotations

import json
import math
from typing import Any

from google.protobuf import wrappers_pb2
from tensorflow_model_analysis.proto import config_pb2 as tfma

from components.span_pusher.verdict import BASELINE, CANDIDATE
from pipeline.config import Config, ConfigError, Threshold
from pipeline.metrics import LOWER_IS_BETTER
from trainer.metric_aggregation import is_mean

SLICES = ("item_slice", "key_slice")
_WEIGHT = "weight"  # the feature of a held-out example, whatever model is asked about it


def eval_config(config: Config, metrics: tuple[str, ...], weighted: bool) -> tfma.EvalConfig:
    """The configuration of the standard Evaluator.

    The model's `evaluate` signature computes each metric for every held-out position; TFMA averages, slices and
    compares them.

    Args:
      config: settings.
      metrics: what the model's `evaluate` signature returns.
      weighted: whether the averages are by the events' weights (see `GraphParameters`).

    Raises:
      ConfigError: a threshold names a metric that the model does not have, or there is none at all.
    """
    gate = config.gate
    named = {*gate.thresholds, *(name for of_slice in gate.slice_thresholds.values() for name in of_slice)}
    if unknown := sorted(named - set(metrics)):
        raise ConfigError(
            f"`gate.thresholds` must name metrics of `{config.model.type}`: {', '.join(metrics)}. Received: {unknown}."
        )
    if not any(threshold.floor is not None or threshold.max_drop is not None for threshold in gate.thresholds.values()):
        raise ConfigError(
            "`gate.thresholds` must give at least one `floor` or `max_drop`: without any nothing is ever blessed."
        )
    # Unless told what a model is, TFMA loads each once more to find out.
    spec: dict[str, Any] = {"signature_name": "evaluate", "model_type": "tf_generic"}
    if len(metrics) == 1:  # TFMA takes the name from an only output
        spec |= {"prediction_key": metrics[0], "label_key": "label"}
        spec |= {"example_weight_key": _WEIGHT} if weighted else {}
    else:
        spec |= {"prediction_keys": {name: name for name in metrics}, "label_keys": dict.fromkeys(metrics, "label")}
        spec |= {"example_weight_keys": dict.fromkeys(metrics, _WEIGHT)} if weighted else {}
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(name=CANDIDATE, **spec),
            tfma.ModelSpec(name=BASELINE, is_baseline=True, **spec),
        ],
        slicing_specs=[tfma.SlicingSpec(), *(tfma.SlicingSpec(feature_keys=[name]) for name in SLICES)],
        metrics_specs=[
            spec
            for name in metrics
            for spec in _metric(config, name, [name] if len(metrics) > 1 else [], name == metrics[0], weighted)
        ],
        options=tfma.Options(compute_confidence_intervals=wrappers_pb2.BoolValue(value=gate.confidence_intervals)),
    )


def _metric(config: Config, name: str, outputs: list[str], counted: bool, weighted: bool) -> list[tfma.MetricsSpec]:
    # Each threshold names its slice: TFMA applies one without to every slice.
    by_slice = {"": config.gate.thresholds, **config.gate.slice_thresholds}
    thresholds = [
        tfma.PerSliceMetricThreshold(
            slicing_specs=[tfma.SlicingSpec(feature_values=dict([of_slice.split(":", 1)]) if of_slice else {})],
            threshold=_threshold(of_metric[name], name),
        )
        for of_slice, of_metric in by_slice.items()
        if name in of_metric
    ]
    average = tfma.MetricConfig(class_name="MeanPrediction", per_slice_thresholds=thresholds)
    if weighted or not is_mean(name):  # by weights TFMA's own mean would let one below 0 take away from the others
        average.class_name, average.module = "Aggregate", "components.gate.aggregate"
        average.config = json.dumps({"metric": name})
    count = [tfma.MetricConfig(class_name="ExampleCount")] if counted else []  # it is the same for every output
    if not weighted:
        return [tfma.MetricsSpec(output_names=outputs, metrics=[*count, average])]
    # An event is one event, whatever its weight.
    alike = tfma.ExampleWeightOptions(unweighted=True)
    counts = [tfma.MetricsSpec(output_names=outputs, metrics=count, example_weights=alike)] if count else []
    by_weight = tfma.ExampleWeightOptions(weighted=True)
    return [*counts, tfma.MetricsSpec(output_names=outputs, metrics=[average], example_weights=by_weight)]


def _threshold(threshold: Threshold, name: str) -> tfma.MetricThreshold:
    lower = name in LOWER_IS_BETTER
    result = tfma.MetricThreshold()
    # Always a bound: TFX blesses nothing that has no threshold. `max_drop` is the paired comparison's.
    bound = result.value_threshold.upper_bound if lower else result.value_threshold.lower_bound
    bound.value = threshold.floor if threshold.floor is not None else (math.inf if lower else -math.inf)
    return result
