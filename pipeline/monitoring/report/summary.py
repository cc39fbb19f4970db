"""What a person reads first: how it stands, what to do, what is new today."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Literal

from pipeline.ledger.runs import Run
from pipeline.metrics import LOWER_IS_BETTER
from pipeline.monitoring.outliers import unusual
from pipeline.monitoring.report.report_data import Facts
from pipeline.spans import Naming

Mood = Literal["well", "look", "act"]

# What stands in front of the sentence: a word and a sign, so that no colour is needed.
MOODS: dict[Mood, str] = {"well": "✓ All is well", "look": "! Worth a look", "act": "✗ Needs you"}


@dataclasses.dataclass(frozen=True)
class Morning:
    """The head of the page.

    Attributes:
      mood: how urgent it is.
      state: what is served and what came of the last span.
      todo: what to do about it, a sentence each; empty for nothing.
    """

    mood: Mood
    state: str
    todo: tuple[str, ...]

    @property
    def word(self) -> str:
        return MOODS[self.mood]


def good_morning(facts: Facts, naming: Naming) -> Morning:
    """How the recommender is doing."""
    latest = facts.runs[-1]
    act, look = _acts(facts), _looks(facts, naming)
    mood: Mood = "act" if act else "look" if look else "well"
    # The ledger says what was pushed; what is served may have been rolled back since.
    serving = f"Version {facts.served[0].version} is served." if facts.served else "Nothing is served yet."
    if latest.state != "done":
        state = f"{serving} {latest.name} is {latest.state}."
    elif latest.action == "skip":
        state = f"{serving} {latest.name} was skipped: {latest.reason}"
    else:
        state = f"{serving} {latest.name}: {latest.verdict}"
    return Morning(mood, state, (*act, *look))


def what_changed(facts: Facts, naming: Naming) -> list[str]:
    """The last span beside the ones before it, a sentence each."""
    latest, before = facts.runs[-1], list(facts.runs[:-1])
    lines = [f"Decided: {latest.action.replace('_', '-')}. {latest.reason}"] if latest.action else []
    if latest.pushed and not latest.revoked:
        came = "from fresh weights" if latest.base_version is None else f"fine-tuned from {latest.base_version}"
        learned = f", trained on {len(latest.trained_on)} spans" if len(latest.trained_on) > 1 else ""
        lines.append(f"Version {latest.pushed} went into service, {came}{learned}.")
    elif latest.pushed:
        lines.append(f"Version {latest.pushed} went into service and was revoked since: {latest.revoked_reason}.")
    elif latest.verdict:
        lines.append("The candidate was refused, and nothing changed in service.")
    if latest.events is not None:
        usual = _usual([run.events for run in before])
        beside = "" if usual is None else f", {latest.events / usual:.0%} of the median day" if usual else ""
        lines.append(f"{latest.events:,} events{beside}; {latest.rejects or 0:,} rejects.")
    if latest.new_items is not None and latest.item_rows:
        lines.append(
            f"{latest.new_items:,} new items and {latest.new_keys or 0:,} new keys: the tables have "
            f"{latest.item_rows:,} and {latest.key_rows or 0:,} rows."
        )
    name, quality = facts.metric, latest.next_span.get(facts.metric)
    past = [value for run in before if (value := run.next_span.get(name)) is not None]
    if quality is not None and past:
        sense = "worse" if (quality > past[-1]) == (name in LOWER_IS_BETTER) else "better"
        lines.append(
            f"The champion's next-span {name} was {quality:.4f}, {sense} than the {past[-1]:.4f} of the span before."
        )
    return lines


def _acts(facts: Facts) -> list[str]:
    latest, standing = facts.runs[-1], facts.standing
    found = []
    if latest.state != "done":
        still = " The champion is still in service." if facts.served else ""
        found.append(f"{latest.name} is {latest.state}: see its log, then run it again.{still}")
    if standing is not None and standing.left:
        found.append(
            f"Revoked and still in the folder: {', '.join(map(str, standing.left))}. Give the same `warmspan rollback` "
            "again."
        )
    if standing is not None and standing.problem:
        found.append(standing.problem)
    return found


def _looks(facts: Facts, naming: Naming) -> list[str]:
    latest, standing = facts.runs[-1], facts.standing
    found = []
    refused = [run for run in facts.runs if run.verdict and run.pushed is None]
    if latest.verdict and latest.pushed is None:
        row = _in_a_row(facts.runs)
        often = f" That is {row} in a row." if row > 1 else ""
        found.append(
            f"The gate refused the candidate of {latest.name}: the verdict below says in which slice.{often} The next "
            "run tries again with this span's events too."
        )
    if latest.revoked:
        found.append(f"Version {latest.pushed} was taken back: {latest.revoked_reason}. The next run starts before it.")
    if standing is not None and standing.owed and not (latest.verdict and refused and latest is refused[-1]):
        names = ", ".join(map(naming.format, standing.owed))
        found.append(f"The champion owes {names}: the next run learns what it has not seen.")
    if latest.drift:
        found.append(f"Drift: {latest.drift}")
    if facts.anomalies:
        columns = ", ".join(sorted({one.column for one in facts.anomalies}))
        found.append(f"The span does not fit its schema in {columns}: see the data below.")
    found += unusual(latest, facts.runs[:-1])
    return found


def _usual(values: Sequence[int | None]) -> float | None:
    known = [one for one in values if one is not None]
    return statistics.median(known) if known else None


def _in_a_row(runs: Sequence[Run]) -> int:
    count = 0
    for run in reversed(runs):
        if not run.verdict or run.pushed is not None:
            break
        count += 1
    return count
