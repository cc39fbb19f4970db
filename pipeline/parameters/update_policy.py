"""From the section `policy` to what the decision reads."""

from __future__ import annotations

from collections.abc import Sequence

from components.update_decider.policy import DriftRule, Limit, RetrainCalendar, UpdatePolicy
from pipeline.config import Config, ConfigError
from pipeline.config.policy import WEEKDAYS, Calendar
from pipeline.metrics import headline, lower_is_better
from pipeline.spans import EPOCH, Naming


def update_policy(config: Config, metrics: Sequence[str]) -> UpdatePolicy:
    """What the decision is told.

    Args:
      config: settings.
      metrics: those of the model.

    Raises:
      ConfigError: the policy names a metric that the model does not have.
    """
    policy = config.policy
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
        after_refusal=config.update.changed_after_refusal,
    )


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
