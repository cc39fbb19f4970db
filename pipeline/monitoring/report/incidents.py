"""What was held, refused, taken back or not ended, and why: a sentence a span."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from pipeline.ledger.runs import Run


@dataclasses.dataclass(frozen=True)
class Incident:
    """A span on which no model went into service, or none stayed: its name, what happened, and why."""

    name: str
    what: str
    why: str


def incidents(runs: Sequence[Run]) -> list[Incident]:
    """Of `runs`, oldest first, those with an incident, the newest first."""
    return [incident for run in reversed(runs) if (incident := incident_of(run)) is not None]


def incident_of(run: Run) -> Incident | None:
    """What kept a span's model out of service; None where nothing did."""
    if run.state == "held":
        return Incident(run.name, "released, not yet run" if run.released else "held", reason(run.doubts))
    if run.state != "done":
        return Incident(run.name, run.state, "its log says why")
    if run.revoked:
        return Incident(run.name, "taken back", run.revoked_reason)
    if run.verdict and run.pushed is None:
        return Incident(run.name, "refused", reason(run.verdict))
    return None


def rounded(text: str) -> str:
    """A sentence whose numbers have three decimals at most."""
    return re.sub(r"(?<![\d.])([+-]?)(\d+\.\d{4,})", lambda number: f"{number[1]}{float(number[2]):.3f}", text)


def reason(text: str) -> str:
    """The first reason of a guard's or gate's sentence, in plain words, without its bounds and with three decimals."""
    text = re.sub(r"^(Refused|Blessed) on [\d,]+ held-out events: ", "", text)
    text = re.split(r"(?<=[\w)%])\. (?=[A-Z])", text)[0].rstrip(".")
    first, *others = text.split("; ")
    more = re.search(r"and (\d+) more$", text)
    count = int(more[1]) + len(others) - 1 if more else len(others)
    first = re.sub(r" \([^()]*\)", "", rounded(first)).replace(" on overall ", " ")
    against = r"(\w+) (against the anchor.*?|on \d+ spans? before) ([+-][\d.]+), allowed is ([+-][\d.]+)"
    first = re.sub(against, r"\1 changed by \3 \2, allowed is \4", first)
    return first + (f", and {count} more" if count > 0 else "")
