"""The gate's verdict as a person reads it: which number, which slice, by how much."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import tensorflow_model_analysis as tfma

from components.paired_comparison.comparison import Comparison
from components.paired_comparison.judgement import OVERALL, Finding, Judgement
from components.paired_comparison.lesson import lesson_of

CANDIDATE, BASELINE = "candidate", "baseline"
# "root_mean" of evaluations from before there were other metrics that are no mean.
_AVERAGES, _COUNT = ("mean_prediction", "aggregate", "root_mean"), "example_count"
_JACKKNIFE = 0.95  # the level of TFMA's intervals


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the gate measured and decided.

    Attributes:
      blessed: whether the candidate may be pushed.
      sentence: the decision and its numbers.
      metrics: slice to metric to `{"candidate": …, "baseline": …}`; without a champion no baseline.
      events: slice to the number of held-out events.
      intervals: slice to metric to the bounds that the difference of candidate and champion lies between.
      comparison: `Comparison` as it was written; empty for a verdict from before there was any.
      lesson, against: what it says of how the candidate was learned, see `lesson_of`; empty: nothing.
    """

    blessed: bool
    sentence: str
    metrics: dict[str, dict[str, dict[str, float]]]
    events: dict[str, int]
    intervals: dict[str, dict[str, tuple[float, float]]] = dataclasses.field(default_factory=dict)
    comparison: dict[str, Any] = dataclasses.field(default_factory=dict)
    lesson: str = ""
    against: str = ""


def read_verdict(evaluation_uri: str, blessed: bool, comparison: Comparison | None = None) -> Verdict:
    """Reads what TFX's Evaluator wrote into `evaluation_uri`, and puts what the paired comparison says beside it."""
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
    fewest = 0 if comparison is None else comparison.rules.min_slice_events
    numbers = _Numbers(metrics, intervals, events, _JACKKNIFE)
    if comparison is not None:
        numbers = numbers.compared(comparison)
    below, shown = _floors(validation, numbers, only, fewest)
    failures = [*below, *(_lost(comparison, numbers) if comparison is not None else [])]
    remarks = [*shown, *_not_looked_at(validation), *(_remarks(comparison, blessed) if comparison is not None else [])]
    sentence = " ".join([_sentence(blessed, failures, numbers), *remarks])
    about = {} if comparison is None else dataclasses.asdict(comparison)
    judgement, least = (Judgement(), 0) if comparison is None else (comparison.judgement, comparison.rules.min_events)
    lesson = lesson_of(judgement, blessed, bool(below), least)
    return Verdict(blessed, sentence, metrics, events, numbers.intervals, about, *lesson)


def read_counts(evaluation_uri: str) -> dict[str, int]:
    """Slice to the number of held-out events, of what TFX's Evaluator wrote."""
    return {
        slice_name(key): round(_number(values[""][_COUNT]))
        for key, outputs in tfma.load_eval_result(evaluation_uri, model_name="").slicing_metrics
        for values in outputs.values()
        if _COUNT in values[""]
    }


@dataclasses.dataclass(frozen=True)
class _Numbers:
    """What was measured: see `Verdict`; and how sure each of the intervals is."""

    metrics: dict[str, dict[str, dict[str, float]]]
    intervals: dict[str, dict[str, tuple[float, float]]]
    events: dict[str, int]
    level: float

    def compared(self, comparison: Comparison) -> _Numbers:
        """With the bounds by key, which know that the events of a key are not independent, for TFMA's."""
        lower = comparison.rules.lower_is_better
        by_key = {
            where: {
                name: (gain.lower, gain.upper)
                for name, finding in findings.items()
                if math.isfinite((gain := -finding.gain if name in lower else finding.gain).lower)
            }
            for where, findings in comparison.judgement.champion.items()
        }
        named = {where: bounds for where, bounds in by_key.items() if bounds}
        if not named:
            return self
        return dataclasses.replace(self, intervals=named, level=2 * comparison.rules.confidence - 1)

    def difference(self, name: str, where: str) -> str:
        """As `is 0.25 against the champion's 0.3 (-0.05, 95 % between -0.08 and -0.02)`."""
        values = self.metrics.get(where, {}).get(name, {})
        candidate, champion = values.get(CANDIDATE, math.nan), values.get(BASELINE, math.nan)
        interval = self.intervals.get(where, {}).get(name)
        between = "" if interval is None else f", {_between(*interval, self.level)}"
        return f"is {candidate:.4f} against the champion's {champion:.4f} ({candidate - champion:+.4f}{between})"


def _between(lower: float, upper: float, level: float) -> str:
    return f"{100 * level:.3g} % between {lower:+.4f} and {upper:+.4f}"


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


def slice_name_of(validated: Any) -> str:
    """The same of a slice in a validation result."""
    keys = validated.slice_key.single_slice_keys
    return slice_name(tuple((key.column, key.bytes_value.decode()) for key in keys))


def _floors(validation: Any, numbers: _Numbers, only: str, fewest: int) -> tuple[list[str], list[str]]:
    """What is below its floor: what speaks against the candidate, and, of slices with few events, what does not."""
    against, shown = [], []
    for of_slice in validation.metric_validations_per_slice:
        where = slice_name_of(of_slice)
        events = numbers.events.get(where, 0)
        for failure in of_slice.failures:
            name = failure.metric_key.output_name or only
            value = numbers.metrics.get(where, {}).get(name, {}).get(CANDIDATE, math.nan)
            line = f"{name} on {where} is {value:.4f}{_bound(failure)}"
            if where == OVERALL or events >= fewest:
                against.append(line)
            else:
                shown.append(f"On only {events} events, which decides nothing: {line}.")
    return against, shown


def _lost(comparison: Comparison, numbers: _Numbers) -> list[str]:
    """What the paired comparison has against the candidate."""
    judgement, lower = comparison.judgement, comparison.rules.lower_is_better
    lines = []
    for where, findings in judgement.champion.items():
        for name, finding in findings.items():
            if finding.refused:
                little = (
                    ""
                    if finding.outcome == "worse"
                    else " and gate.on_little_evidence is refuse: not sure to be no worse"
                )
                lines.append(
                    f"{name} on {where} {numbers.difference(name, where)}, {_allowed(finding, name in lower)}{little}"
                )
    for findings, against in (
        (judgement.anchor, _of_anchor(comparison)),
        (judgement.retention, _of_retention(comparison)),
    ):
        lines += [
            f"{name} {against} {_change(finding, name in lower, comparison.rules.confidence)}, "
            f"{_allowed(finding, name in lower)}"
            for name, finding in findings.items()
            if finding.refused
        ]
    return lines


def _remarks(comparison: Comparison, blessed: bool) -> list[str]:
    """What else a reader should know of a comparison: what was not refused, and how sure that is."""
    judgement, lower = comparison.judgement, comparison.rules.lower_is_better
    overall = judgement.champion.get(OVERALL, {})
    little = [name for name, finding in overall.items() if finding.outcome == "not enough evidence" and blessed]
    remarks = [f"Too few events to be sure that {', '.join(little)} did not fall too far."] if little else []
    for findings, against in (
        (judgement.anchor, _of_anchor(comparison)),
        (judgement.retention, _of_retention(comparison)),
    ):
        # Where the champion is the anchor, and no other span is pooled, its numbers stand there already.
        fine = {name: of for name, of in findings.items() if not of.refused and of.gain != overall[name].gain}
        if fine:
            changes = [
                f"{name} {_change(finding, name in lower, comparison.rules.confidence)}"
                for name, finding in fine.items()
            ]
            remarks.append(f"{against[0].upper()}{against[1:]}: {', '.join(changes)}.")
    return remarks


def _of_anchor(comparison: Comparison) -> str:
    nights = comparison.judgement.nights
    version = comparison.anchor.version if comparison.anchor else 0
    return f"against the anchor, version {version}" + (f", over {nights} spans" if nights > 1 else "")


def _of_retention(comparison: Comparison) -> str:
    return f"on {comparison.retention_spans} span{'s' * (comparison.retention_spans > 1)} before"


def _change(finding: Finding, lower_is_better: bool, confidence: float) -> str:
    gain = -finding.gain if lower_is_better else finding.gain
    bounds = f" ({_between(gain.lower, gain.upper, 2 * confidence - 1)})" if math.isfinite(gain.lower) else ""
    return f"{gain.mean:+.4f}{bounds}"


def _allowed(finding: Finding, lower_is_better: bool) -> str:
    allowed = finding.allowed or 0.0
    return f"allowed is {allowed if lower_is_better else -allowed:+.4f}"


def _not_looked_at(validation: Any) -> list[str]:
    empty = [
        ",".join(f"{column}:{value}" for column, value in missing_slice.feature_values.items())
        for missing_slice in validation.missing_slices
    ]
    named = sorted(name for name in empty if name)
    return [f"No event fell into {', '.join(named)}: that threshold was not looked at."] if named else []


def _bound(failure: Any) -> str:
    value = failure.metric_threshold.value_threshold
    if value.HasField("lower_bound"):
        return f", at least {value.lower_bound.value:.4f} is asked"
    return f", at most {value.upper_bound.value:.4f} is allowed"


def _sentence(blessed: bool, failures: list[str], numbers: _Numbers) -> str:
    on = f"{numbers.events.get(OVERALL, 0)} held-out events"
    if not blessed:
        nothing = (
            "there is nothing to judge by"
            if not numbers.events
            else "the gate has no threshold that could be looked at"
        )
        return f"Refused on {on}: " + ("; ".join(failures) or nothing) + "."
    values = [
        f"{name} "
        + (numbers.difference(name, OVERALL).removeprefix("is ") if BASELINE in of else f"{of[CANDIDATE]:.4f}")
        for name, of in numbers.metrics.get(OVERALL, {}).items()
    ]
    return f"Blessed on {on}: " + ", ".join(values) + "."
