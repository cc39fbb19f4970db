"""What a verdict says of how the candidate was learned: the next update is changed by it."""

from __future__ import annotations

from typing import NamedTuple

from components.paired_comparison.judgement import OVERALL, Judgement
from components.update_decider.backoff import NOT_WORSE, REFUSED, WORSE


class Lesson(NamedTuple):
    """`lesson` as `PastVerdict` has it, and what spoke `against` the candidate, in words."""

    lesson: str
    against: str


def lesson_of(judgement: Judgement, blessed: bool, below_floor: bool, min_events: int) -> Lesson:
    """Depends on the gate's measurements alone, whatever comes of the export after it.

    A refusal for want of evidence, or because there was nothing to judge by, says nothing. A candidate that is blessed
    although by the bound it loses, within what it may lose, is worse; any other that is blessed is not, also where the
    evidence is little, or a small shop would never learn at its own rate again.

    Args:
      judgement: what the paired comparison came to.
      blessed: by the gate.
      below_floor: whether it is below a floor that decides.
      min_events: with fewer nothing is worse by the bound.
    """
    if blessed:
        worse = any(
            finding.allowed is not None and finding.gain.events >= min_events and finding.gain.upper < 0
            for finding in judgement.champion.get(OVERALL, {}).values()
        )
        return Lesson(WORSE, "worse by the bound") if worse else Lesson(NOT_WORSE, "")
    against = {
        "worse than the champion": [of for findings in judgement.champion.values() for of in findings.values()],
        "worse than the anchor": list(judgement.anchor.values()),
        "retention": list(judgement.retention.values()),
    }
    said = [
        words
        for words, findings in against.items()
        if any(finding.refused and finding.outcome == "worse" for finding in findings)
    ]
    said += ["below a floor"] * below_floor
    return Lesson(REFUSED, " and ".join(said)) if said else Lesson("", "")
