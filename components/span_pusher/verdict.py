"""The gate's verdict as a person reads it: which number, which slice, by how much."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import tensorflow_model_analysis as tfma

OVERALL = "overall"
CANDIDATE, BASELINE = "candidate", "baseline"
_AVERAGES, _COUNT = ("mean_prediction", "root_mean"), "example_count"
_LEVEL = "95 %"  # of TFMA's intervals, by a jackknife over the held-out events


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the gate measured and decided.

    Attributes:
      blessed: whether the candidate may be pushed.
      sentence: the decision and its numbers.
      metrics: slice to metric to `{"candidate": …, "baseline": …}`; without a champion no baseline.
      events: slice to the number of held-out events.
      intervals: slice to metric to the bounds that the difference of candidate and champion lies between; empty unless
        `gate.confidence_intervals` asks for them.
    """

    blessed: bool
    sentence: str
    metrics: dict[str, dict[str, dict[str, float]]]
    events: dict[str, int]
    intervals: dict[str, dict[str, tuple[float, float]]] = dataclasses.field(default_factory=dict)


def read_verdict(evaluation_uri: str, blessed: bool) -> Verdict:
    """Reads what TFX's Evaluator wrote into `evaluation_uri`."""
    metrics: dict[str, dict[str, dict[str, float]]] = {}
    events: dict[str, int] = {}
    intervals: dict[str, dict[str, tuple[float, float]]] = {}
    # TFMA finds the candidate under no name, whether or not there is a champion beside it.
    for model, name in ((CANDIDATE, ""), (BASELINE, BASELINE)):
        result = tfma.load_eval_result(evaluation_uri, model_name=name)
        only = result.config.model_specs[0].prediction_key  # an only output has no name among the metrics
        for key, outputs in result.slicing_metrics:
            where = slice_name(key)
            for output, values in outputs.items():
                average = _average(values[""])
                if average is None:
                    continue
                metrics.setdefault(where, {}).setdefault(output or only, {})[model] = average
                if bounds := _difference(values[""]):
                    intervals.setdefault(where, {})[output or only] = bounds
                if _COUNT in values[""]:
                    events[where] = round(_number(values[""][_COUNT]))
    validation = tfma.load_validation_result(evaluation_uri)
    failures = _failures(validation, metrics, intervals, only)
    sentence = _sentence(blessed, failures, metrics, intervals, events) + _not_looked_at(validation)
    return Verdict(blessed, sentence, metrics, events, intervals)


def _average(values: dict[str, Any]) -> float | None:
    """None for no metric: where a slice is too small for an interval, TFMA puts a word on that beside the metrics."""
    return next((_number(values[name]) for name in _AVERAGES if name in values), None)


def _difference(values: dict[str, Any]) -> tuple[float, float] | None:
    averages = [values[f"{name}_diff"] for name in _AVERAGES if f"{name}_diff" in values]
    bounds = [average["boundedValue"] for average in averages if "boundedValue" in average]
    return (float(bounds[0]["lowerBound"]), float(bounds[0]["upperBound"])) if bounds else None


def _number(value: dict[str, Any]) -> float:
    """A metric's value; with intervals asked for, TFMA wraps it in its bounds."""
    return float(value["doubleValue"] if "doubleValue" in value else value["boundedValue"]["value"])


def slice_name(key: tuple) -> str:
    """`()` is `overall`, `(("item_slice", "new"),)` is `item_slice:new`."""
    return ",".join(f"{column}:{value}" for column, value in key) or OVERALL


def _failures(
    validation: Any,
    metrics: dict[str, dict[str, dict[str, float]]],
    intervals: dict[str, dict[str, tuple[float, float]]],
    only: str,
) -> list[str]:
    lines = []
    for of_slice in validation.metric_validations_per_slice:
        key = tuple(
            (single_slice_key.column, single_slice_key.bytes_value.decode())
            for single_slice_key in of_slice.slice_key.single_slice_keys
        )
        for failure in of_slice.failures:
            name, where = failure.metric_key.output_name or only, slice_name(key)
            values = metrics.get(where, {}).get(name, {})
            compared = _compare(values, failure.metric_key.is_diff, intervals.get(where, {}).get(name))
            lines.append(f"{name} on {where} {compared}{_bound(failure)}")
    return lines


def _not_looked_at(validation: Any) -> str:
    empty = [
        ",".join(f"{column}:{value}" for column, value in missing_slice.feature_values.items())
        for missing_slice in validation.missing_slices
    ]
    named = sorted(name for name in empty if name)
    return f" No event fell into {', '.join(named)}: that threshold was not looked at." if named else ""


def _compare(values: dict[str, float], is_diff: bool, interval: tuple[float, float] | None) -> str:
    candidate, champion = values.get(CANDIDATE, math.nan), values.get(BASELINE, math.nan)
    if not is_diff:
        return f"is {candidate:.4f}"
    between = "" if interval is None else f", {_LEVEL} between {interval[0]:+.4f} and {interval[1]:+.4f}"
    return f"is {candidate:.4f} against the champion's {champion:.4f} ({candidate - champion:+.4f}{between})"


def _bound(failure: Any) -> str:
    if failure.metric_key.is_diff:
        return f", allowed is {failure.metric_threshold.change_threshold.absolute.value:+.4f}"
    value = failure.metric_threshold.value_threshold
    if value.HasField("lower_bound"):
        return f", at least {value.lower_bound.value:.4f} is asked"
    return f", at most {value.upper_bound.value:.4f} is allowed"


def _sentence(
    blessed: bool,
    failures: list[str],
    metrics: dict[str, dict[str, dict[str, float]]],
    intervals: dict[str, dict[str, tuple[float, float]]],
    events: dict[str, int],
) -> str:
    on = f"{events.get(OVERALL, 0)} held-out events"
    if not blessed:
        nothing = "there is nothing to judge by" if not events else "the gate has no threshold that could be looked at"
        return f"Refused on {on}: " + ("; ".join(failures) or nothing) + "."
    between = intervals.get(OVERALL, {})
    numbers = [
        f"{name} {_compare(values, BASELINE in values, between.get(name)).removeprefix('is ')}"
        for name, values in metrics.get(OVERALL, {}).items()
    ]
    return f"Blessed on {on}: " + ", ".join(numbers) + "."
