"""Where in the lineage lies what the policy looks at, and which of the day's outputs its decision reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel

from components import artifacts
from components.update_decider.policy import UpdatePolicy

_LINEAGE = {
    "evaluations": (artifacts.NextSpanEvaluation, "NextSpanEvaluator", "evaluation"),
    "past_statistics": (standard_artifacts.ExampleStatistics, "StatisticsGen", "statistics"),
    "decisions": (artifacts.Decision, "UpdateDecider", "decision"),
}


def channels(windows: Collection[str], held_out: Channel) -> dict[str, Channel]:
    """The channels of what is looked at.

    Not `verdicts`, which is asked for anyway: TFX takes a channel once. So it does that of `held_out` parts.
    """
    looked_at = {
        name: Channel(type=kind, producer_component_id=node, output_key=key)
        for name, (kind, node, key) in _LINEAGE.items()
        if name in windows
    }
    return looked_at | ({"older_held_out": held_out} if "older_held_out" in windows else {})


def signals(
    policy: UpdatePolicy,
    windows: Collection[str],
    before: Mapping[str, BaseChannel],
    today: Mapping[str, BaseChannel],
) -> dict[str, BaseChannel]:
    """The decider's inputs for it, out of what is there `before` the span and of the span itself."""
    own = {
        "evaluation": policy.next_span.set or policy.retention.set,
        "statistics": any(drift_rule.limit.set for drift_rule in policy.drift),
        "vocabulary": policy.new_items.set or policy.new_keys.set,
    }
    # The older events are the champion's to be tested on; the decision sees what came of it.
    earlier = {name: before[name] for name in windows if name != "older_held_out"}
    return earlier | {name: today[name] for name, wanted in own.items() if wanted}
