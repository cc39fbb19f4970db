"""How the verdict on one candidate changes the learning of the next: the rule, without any TFX."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from components.data_files import EPOCH
from trainer.backoff import UNCHANGED, Factors
from trainer.settings import AfterRefusal

# What a verdict says of the learning, as the property `lesson` of what the pusher puts out; empty: nothing.
REFUSED, WORSE, NOT_WORSE = "refused", "worse", "not worse"
# The other properties of it that say how a candidate was learned and what was against it.
VERDICT_TEXTS = ("lesson", "against", "action", "backoff_reason")
FROM_NOTHING = ("cold_start", "retrain")

_WORDS = {0.5: "half", 0.25: "a quarter of", 0.125: "an eighth of", 2.0: "twice", 4.0: "four times"}


@dataclasses.dataclass(frozen=True)
class Backoff:
    """How far learning is turned down: by so many refusals that are not made good yet, and what the last of them was.

    `reason` is "2024-05-03 was refused, retention"; empty at level 0.
    """

    level: int
    reason: str

    def factors(self, rules: AfterRefusal) -> Factors:
        level = min(self.level, rules.max_refusals)
        return Factors(rules.rate**level, rules.replay**level, rules.epochs**level)


NONE = Backoff(0, "")


@dataclasses.dataclass(frozen=True)
class PastVerdict:
    """A verdict that the learning is changed by.

    Attributes:
      span: of the candidate.
      from_nothing: whether it was trained from fresh weights, to which no factor is applied.
      lesson: `REFUSED` by the gate for what it had learned; blessed and `WORSE` by the bound, or `NOT_WORSE`; or empty.
      against: what spoke against it: "retention", "worse than the champion".
      backoff: under which it was trained, or would have been.
    """

    span: int
    from_nothing: bool
    lesson: str
    against: str
    backoff: Backoff

    @classmethod
    def of(cls, properties: Mapping[str, Any]) -> PastVerdict:
        """From the properties of what the pusher has put out; one from before there were such says nothing."""
        return cls(
            span=properties["span"],
            from_nothing=properties.get("action") in FROM_NOTHING,
            lesson=properties.get("lesson", ""),
            against=properties.get("against", ""),
            backoff=Backoff(properties.get("backoff", 0), properties.get("backoff_reason", "")),
        )


def next_backoff(verdict: PastVerdict | None, rules: AfterRefusal, dated: bool) -> Backoff:
    """What the update after `verdict` is trained under; each verdict knows what it was trained under itself.

    A refusal, or a candidate that is worse by the bound, is a level up; another verdict is one down, and not all at
    once: a rate that was too high two nights ago would be tried again tonight. A model from fresh weights that is
    blessed begins anew, since what was refused descended from another; one that is refused says nothing of the rate.

    Args:
      verdict: on the last candidate before the span, None without one.
      rules: the settings; without any change to make there is no level either.
      dated: whether spans are days.
    """
    if verdict is None or Backoff(rules.max_refusals, "").factors(rules) == UNCHANGED:
        return NONE
    before = verdict.backoff
    level, reason = before.level, before.reason
    if verdict.from_nothing:
        level = 0 if verdict.lesson in (WORSE, NOT_WORSE) else level
    elif verdict.lesson in (REFUSED, WORSE):
        span = (EPOCH + datetime.timedelta(days=verdict.span)).isoformat() if dated else str(verdict.span)
        how = f"refused, {verdict.against}" if verdict.lesson == REFUSED else f"blessed, but {verdict.against}"
        level, reason = level + 1, f"{span} was {how}"
    elif verdict.lesson == NOT_WORSE:
        level -= 1
    level = max(0, min(level, rules.max_refusals))
    return Backoff(level, reason) if level else NONE


def in_words(backoff: Backoff, factors: Factors) -> str:
    """As "learns at half the rate with twice the replay: 2024-05-03 was refused, retention"; empty without a change."""
    changes = [
        f"{preposition} {_WORDS.get(factor, f'{factor:g} times')} the {what}"
        for preposition, factor, what in (
            ("at", factors.rate, "rate"),
            ("with", factors.replay, "replay"),
            ("for", factors.epochs, "epochs"),
        )
        if factor != 1
    ]
    return f"learns {' '.join(changes)}: {backoff.reason}" if changes else ""
