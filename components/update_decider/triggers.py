"""When a policy asks for a full retrain, and when it lets a span wait."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from components.update_decider.limit_checks import DRIFT, Finding
from components.update_decider.policy import Signals, UpdatePolicy


@dataclasses.dataclass(frozen=True)
class Trigger:
    """What decides on a span; `reason` says it in a sentence or a few."""

    reason: str


def retrain_due(span: int, rules: UpdatePolicy, signals: Signals, reached: Sequence[Finding]) -> Trigger | None:
    """What a full retrain is due by; None if none is."""
    if rules.schedule is not None:
        due = rules.schedule.last_due(span)
        # A retrain that the gate refused is not tried again before the next date; one that fell out is made up for.
        if due > max(_known(signals.tried), _known(signals.retrained)):
            late = f", {_count(span - due, rules.unit)} late" if due < span else ""
            return Trigger(f"A full retrain is due by the schedule ({rules.schedule.text}{late}).")
    if _cooling(span, rules, signals):
        return None
    if _too_old(span, rules, signals):
        age = _count(span - _known(signals.retrained), rules.unit)
        return Trigger(f"The last full retrain was {age} ago (policy.max_age {rules.max_age}).")
    asking = [finding for finding in reached if finding.asks_retrain]
    return Trigger(as_sentence(asking, "retrain")) if asking else None


def may_rest(owed: int, rules: UpdatePolicy, reached: Sequence[Finding]) -> Trigger | None:
    """What lets the span wait; None if it can't."""
    if owed >= rules.rest_spans or any(finding.asks_update for finding in reached):
        return None
    measured = as_sentence(reached)
    return Trigger(
        f"Nothing calls for an update. {measured}{' ' * bool(measured)}The span is left for later: {owed} of at most "
        f"{rules.rest_spans} are (policy.rest_spans)."
    )


def waiting(span: int, rules: UpdatePolicy, signals: Signals, reached: Sequence[Finding]) -> Trigger | None:
    """What keeps a full retrain that is asked for from being made; None if none is asked for."""
    asked = any(finding.asks_retrain for finding in reached) or _too_old(span, rules, signals)
    if not asked or not _cooling(span, rules, signals):
        return None
    return Trigger(
        f"A full retrain was tried {_count(span - _known(signals.tried), rules.unit)} ago and is not tried again yet "
        f"(policy.cooldown {rules.cooldown})."
    )


def drift_found(reached: Sequence[Finding]) -> str:
    """What drifted beyond one of its limits, in a sentence; empty if nothing did."""
    return as_sentence(
        [finding for finding in reached if finding.kind == DRIFT and finding.value is not None and finding.asks_update]
    )


def as_sentence(reached: Sequence[Finding], limit: str = "") -> str:
    """The figures of `found`, each with the limit it reached, or with the limit called `limit`."""
    text = "; ".join(f"{finding.text}{_limit(finding, limit)}" for finding in reached)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _limit(finding: Finding, name: str) -> str:
    name = name or ("retrain" if finding.asks_retrain else "fine_tune" if finding.asks_update else "")
    value = getattr(finding.limit, name) if name else None
    if value is None or finding.value is None:
        return ""
    return f" (policy.{finding.kind} {name} {value:g})"


def _cooling(span: int, rules: UpdatePolicy, signals: Signals) -> bool:
    return signals.tried is not None and span - signals.tried <= rules.cooldown


def _too_old(span: int, rules: UpdatePolicy, signals: Signals) -> bool:
    return rules.max_age is not None and signals.retrained is not None and span - signals.retrained >= rules.max_age


def _known(span: int | None) -> float | int:
    return float("-inf") if span is None else span


def _count(number: float, unit: str) -> str:
    return f"{number:g} {unit}{'s' * (number != 1)}"
