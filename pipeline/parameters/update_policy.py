"""From the section `policy` to what the decision reads, and to what of the lineage it needs for that."""

from __future__ import annotations

from collections.abc import Mapping

from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel

from components import artifacts
from components.update_decider.policy import DriftRule, Limit, RetrainCalendar, UpdatePolicy
from pipeline.config import Config, ConfigError
from pipeline.config.policy import WEEKDAYS, Calendar
from pipeline.metrics import headline, lower_is_better
from pipeline.parameters import components
from pipeline.spans import EPOCH, Naming


def rules(config: Config) -> UpdatePolicy:
    """What the decision is told.

    Raises:
      ConfigError: the policy names a metric that the model does not have.
    """
    policy, metrics = config.policy, components.metric_names(config)
    metric = policy.next_span.metric or headline(metrics)
    if metric not in metrics:
        raise ConfigError(
            f"`policy.next_span.metric` must be a metric of `{config.model.type}`: {', '.join(metrics)}. Received: "
            f"{metric!r}."
        )
    return UpdatePolicy(
        metric=metric,
        lower_is_better=lower_is_better(metric),
        rest_spans=policy.rest_spans,
        cooldown=policy.cooldown,
        max_age=policy.max_age,
        next_span=Limit(policy.next_span.fine_tune, policy.next_span.retrain),
        next_span_spans=policy.next_span.spans,
        next_span_least=policy.next_span.at_least,
        drift=tuple(
            DriftRule(name, column.measure, Limit(column.fine_tune, column.retrain))
            for name, column in sorted(policy.drift.columns.items())
        ),
        drift_spans=policy.drift.spans,
        retention=Limit(policy.retention.fine_tune, policy.retention.retrain),
        new_items=Limit(policy.new_items.fine_tune, policy.new_items.retrain),
        new_keys=Limit(policy.new_keys.fine_tune, policy.new_keys.retrain),
        schedule=_calendar(policy.schedule, config.data.dated),
        unit="day" if config.data.dated else "span",
    )


def window(config: Config) -> dict[str, tuple[int, int]]:
    """What of earlier spans the policy looks at: name to how many spans, and how many of the last are passed over."""
    policy, asked = config.policy, rules(config)
    windows = {}
    if asked.next_span.set:
        windows["evaluations"] = (policy.next_span.spans, 0)
    if any(drift_rule.limit.set for drift_rule in asked.drift):
        windows["past_statistics"] = (policy.drift.spans, 0)
    if asked.retention.set:
        older = policy.retention
        windows["older_held_out"] = (older.spans, older.age - 1)
        # A span without a verdict shifts the others: those that are needed are found by their span.
        windows["verdicts"] = (older.spans + older.age - 1, 0)
    tried = max(policy.cooldown if _can_retrain(asked) else 0, asked.schedule.period if asked.schedule else 0)
    if tried:
        windows["decisions"] = (tried, 0)
    return windows


def channels(config: Config) -> dict[str, Channel]:
    """Where that lies in the lineage; not `verdicts`, which is asked for anyway: TFX takes a channel once."""
    known = {
        "evaluations": (artifacts.NextSpanEvaluation, "NextSpanEvaluator", "evaluation"),
        "past_statistics": (standard_artifacts.ExampleStatistics, "StatisticsGen", "statistics"),
        "older_held_out": (standard_artifacts.Examples, "SpanTransform", "held_out"),
        "decisions": (artifacts.Decision, "UpdateDecider", "decision"),
    }
    return {
        name: Channel(type=kind, producer_component_id=node, output_key=key)
        for name, (kind, node, key) in known.items()
        if name in window(config)
    }


def signals(
    config: Config, before: Mapping[str, BaseChannel], today: Mapping[str, BaseChannel]
) -> dict[str, BaseChannel]:
    """The decider's inputs for it, out of what is there `before` the span and of the span itself."""
    asked = rules(config)
    own = {
        "evaluation": asked.next_span.set or asked.retention.set,
        "statistics": any(drift_rule.limit.set for drift_rule in asked.drift),
        "vocabulary": asked.new_items.set or asked.new_keys.set,
    }
    # The older events are the champion's to be tested on; the decision sees what came of it.
    earlier = {name: before[name] for name in window(config) if name != "older_held_out"}
    return earlier | {name: today[name] for name, wanted in own.items() if wanted}


def _can_retrain(asked: UpdatePolicy) -> bool:
    limits = (
        asked.next_span,
        asked.retention,
        asked.new_items,
        asked.new_keys,
        *(drift_rule.limit for drift_rule in asked.drift),
    )
    return asked.max_age is not None or any(limit.retrain is not None for limit in limits)


def _calendar(settings: Calendar, dated: bool) -> RetrainCalendar | None:
    if settings.every is None:
        return None
    start = settings.start
    number = 0 if start is None else Naming(dated).parse(start) if isinstance(start, str) else start
    nth = "" if settings.every == 1 else f"{settings.every}{_ending(settings.every)} "
    if settings.weekday is None:
        return RetrainCalendar(number, settings.every, f"every {nth}{'day' if dated else 'span'}")
    if start is None:
        number = (WEEKDAYS.index(settings.weekday) - EPOCH.weekday()) % 7
    return RetrainCalendar(number, 7 * settings.every, f"every {nth}{settings.weekday.title()}")


def _ending(number: int) -> str:
    return "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
