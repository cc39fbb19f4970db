"""What was measured against the limits of a policy, each as a number and as words."""

from __future__ import annotations

import dataclasses
import math
import statistics

from components.update_decider.policy import Limit, Measure, Signals, UpdatePolicy

DRIFT = "drift"
_MEASURES: dict[Measure, str] = {"jensen_shannon": "Jensen-Shannon", "infinity_norm": "L-infinity"}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One figure beside its limits.

    Attributes:
      kind: `next_span`, `drift`, `retention`, `new_items` or `new_keys`.
      name: the same, with what tells several of a kind apart.
      value: in the unit of the limits; None where it can't be measured yet.
      text: the figure in words, without a limit.
      limit: its limits.
    """

    kind: str
    name: str
    value: float | None
    text: str
    limit: Limit

    @property
    def asks_retrain(self) -> bool:
        return _reached(self.value, self.limit.retrain)

    @property
    def asks_update(self) -> bool:
        """Whether the span may not be left for later; what a limit can't be held against may not be either."""
        unknown = self.value is None and self.limit.fine_tune is not None
        return unknown or self.asks_retrain or _reached(self.value, self.limit.fine_tune)


def findings(rules: UpdatePolicy, signals: Signals) -> list[Finding]:
    """Every figure that `rules` sets a limit for."""
    checked = [_next_span(rules, signals)]
    measured = {(column, measure): value for column, measure, value in signals.drift}
    for rule in rules.drift:
        value = measured.get((rule.column, rule.measure))
        by = _MEASURES[rule.measure]
        text = (
            f"`{rule.column}` has no earlier span to be compared with"
            if value is None
            else f"`{rule.column}` is {value:.3f} ({by}) from the nearest of the spans before"
        )
        checked.append(Finding(DRIFT, f"drift {rule.column} {rule.measure}", value, text, rule.limit))
    checked.append(_retention(rules, signals))
    for name, share in (("new_items", signals.new_items), ("new_keys", signals.new_keys)):
        ids = name.removeprefix("new_")
        text = f"the share of new {ids} is not known" if share is None else f"{share:.1%} of the {ids} are new"
        checked.append(Finding(name, name, share, text, getattr(rules, name)))
    return [finding for finding in checked if finding.limit.set]


def _next_span(rules: UpdatePolicy, signals: Signals) -> Finding:
    band, value = signals.past_next_span[-rules.next_span_spans :], signals.next_span
    name = f"next-span {rules.metric}"
    if value is None:
        return Finding("next_span", "next_span", None, f"{name} is not known", rules.next_span)
    if len(band) < max(2, rules.next_span_least):
        text = f"{name} {value:.4f} has {len(band)} earlier span{'s' * (len(band) != 1)} to be compared with"
        return Finding("next_span", "next_span", None, text, rules.next_span)
    mean, spread = statistics.fmean(band), statistics.stdev(band)
    worse = value - mean if rules.lower_is_better else mean - value
    # Where the figures never varied, up to rounding, any step outside of the band is one too many.
    flat = spread <= 1e-9 * abs(mean)
    deviations = (math.inf if worse > 1e-9 * abs(mean) else 0.0) if flat else worse / spread
    side = "above" if (value > mean) else "below"
    how = "an unvarying mean" if flat else f"{abs(deviations):.1f} standard deviations {side} the mean"
    text = f"{name} {value:.4f} is {how} {mean:.4f} of the last {len(band)} spans"
    if flat:
        text = f"{name} {value:.4f} is {side if worse else 'at'} {how} {mean:.4f} of the last {len(band)} spans"
    return Finding("next_span", "next_span", deviations, text, rules.next_span)


def _retention(rules: UpdatePolicy, signals: Signals) -> Finding:
    pairs = signals.retention
    if not pairs:
        text = f"{rules.metric} on older spans is not known"
        return Finding("retention", "retention", None, text, rules.retention)
    now, then = (statistics.fmean(values) for values in zip(*pairs, strict=True))
    worse = now - then if rules.lower_is_better else then - now
    text = (
        f"{rules.metric} on the held-out events of {len(pairs)} older span{'s' * (len(pairs) > 1)} is {now:.4f}, "
        f"{then:.4f} when they were new"
    )
    return Finding("retention", "retention", worse, text, rules.retention)


def _reached(value: float | None, limit: float | None) -> bool:
    return value is not None and limit is not None and value >= limit
