"""From paired differences to what speaks against a candidate: the rule, without any TFX."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pydantic

from components.json_parameter import JsonParameter
from components.paired_comparison.bounds import Interval, Outcome, beyond, interval, outcome
from components.paired_comparison.differences import Differences, pooled

OVERALL = "overall"


@dataclasses.dataclass(frozen=True)
class Rules(JsonParameter):
    """What the settings say of the comparison; a component's execution parameter as JSON.

    Attributes:
      max_drop: slice (`overall`, `item_slice:new`) to metric to how far it may fall below the champion's.
      lower_is_better: metrics that are errors.
      confidence: of each bound, one-sided.
      min_events: with fewer there is never enough evidence.
      min_slice_events: with fewer a slice is shown and decides nothing.
      pool_events: nights before are pooled for the anchor until there are so many events.
      anchor_spans: how old the anchor may become.
      budget: how many times its `max_drop` a metric may lose against the anchor in all; None for no anchor.
      retention: how many times its `max_drop` it may lose on the spans before; None for no such limit.
      refuse_little: whether what is not supported enough to be told not worse is refused.
    """

    max_drop: Mapping[str, Mapping[str, float]]
    lower_is_better: tuple[str, ...]
    confidence: float
    min_events: int
    min_slice_events: int
    pool_events: int
    anchor_spans: int
    budget: float | None
    retention: float | None
    refuse_little: bool


@dataclasses.dataclass(frozen=True)
class Finding:
    """One metric of one comparison.

    Attributes:
      gain: of the candidate, above 0 where it is better.
      allowed: how much it may lose; None where the settings set no limit.
      outcome: what the bounds say; empty without a limit, or where there are too few events to decide by.
      refused: whether it speaks against the candidate.
    """

    gain: Interval
    allowed: float | None = None
    outcome: Outcome | str = ""
    refused: bool = False


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What a comparison came to, each by metric.

    Attributes:
      champion: slice to metric to what was found against the champion.
      anchor: against the anchor, over the pooled nights; empty where the champion is the anchor and nothing was lost.
      nights: how many nights were pooled for it.
      retention: against the champion, on the spans before.
      unlearned: metric to the gain on the spans before over the models of those nights, which had not learned them.
    """

    champion: Mapping[str, Mapping[str, Finding]] = dataclasses.field(default_factory=dict)
    anchor: Mapping[str, Finding] = dataclasses.field(default_factory=dict)
    nights: int = 0
    retention: Mapping[str, Finding] = dataclasses.field(default_factory=dict)
    unlearned: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def refused(self) -> bool:
        every = [*self.champion.values(), self.anchor, self.retention]
        return any(finding.refused for of_metric in every for finding in of_metric.values())

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Judgement:
        return pydantic.TypeAdapter(cls).validate_python(raw)


def judge(
    rules: Rules,
    champion: Differences,
    anchor: Sequence[Differences] = (),
    carried: Mapping[str, float] | None = None,
    retention: Differences | None = None,
    unlearned: Mapping[str, float] | None = None,
) -> Judgement:
    """Depends on its arguments alone.

    Args:
      rules: the settings.
      champion: the candidate's gains over the champion on tonight's verdict part.
      anchor: those over the anchor, tonight's first, then those of the nights before that were pushed, newest first.
      carried: metric to what was lost against the anchors before, at most 0.
      retention: the gains over the champion on spans before, which both have learned.
      unlearned: metric to the gain there over what the models of those nights had when they had not learned the
        events. Both must speak against the candidate: what is known by heart is lost first, and on every good night.
    """
    overall = rules.max_drop.get(OVERALL, {})
    against = {OVERALL: {name: _against_champion(rules, champion, name, overall.get(name)) for name in champion.gains}}
    for column, labels in champion.slices.items():
        for label in np.unique(labels):
            where = f"{column}:{label.decode()}"
            inside = champion.take(np.flatnonzero(labels == label))
            limits = rules.max_drop.get(where, {}) if len(inside) >= rules.min_slice_events else {}
            against[where] = {name: _against_champion(rules, inside, name, limits.get(name)) for name in inside.gains}
    nights = pool(anchor, rules.pool_events)
    to_anchor, before = {}, {}
    for name, max_drop in overall.items():
        if rules.budget is not None and nights and name in nights[0].gains:
            to_anchor[name] = _within(
                rules, pooled(nights), name, rules.budget * max_drop + (carried or {}).get(name, 0.0)
            )
        if rules.retention is not None and retention is not None and name in retention.gains:
            finding = _within(rules, retention, name, rules.retention * max_drop)
            beyond_heart = (unlearned or {}).get(name, 0.0) < -rules.retention * max_drop
            before[name] = finding if beyond_heart or not finding.refused else _not_refused(finding)
    return Judgement(against, to_anchor, len(nights), before, dict(unlearned or {}))


def pool(nights: Sequence[Differences], events: int) -> list[Differences]:
    """The first of `nights`, which is tonight, and those after it until there are so many events; none without any."""
    nights = [night for night in nights if len(night)]
    before = np.cumsum([0, *(len(night) for night in nights)])
    return [night for night, earlier in zip(nights, before, strict=False) if not earlier or earlier < events]


def _against_champion(rules: Rules, events: Differences, name: str, max_drop: float | None) -> Finding:
    gain = interval(events.gains[name], events.weights, events.keys, rules.confidence)
    if max_drop is None:
        return Finding(gain)
    said = outcome(gain, max_drop, rules.min_events)
    return Finding(gain, max_drop, said, said == "worse" or (said == "not enough evidence" and rules.refuse_little))


def _within(rules: Rules, events: Differences, name: str, allowed: float) -> Finding:
    gain = interval(events.gains[name], events.weights, events.keys, rules.confidence)
    left = max(0.0, allowed)
    if len(events) < rules.min_events or math.isnan(gain.mean):
        return Finding(gain, left)
    refused = beyond(gain, left)
    return Finding(gain, left, "worse" if refused else "not worse", refused)


def _not_refused(finding: Finding) -> Finding:
    return dataclasses.replace(finding, outcome="not worse", refused=False)
