"""What a person reads first: is it good, where is it going, what was held or refused, what to do; what is new today."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Literal

from pipeline.ledger.runs import Run
from pipeline.metrics import title
from pipeline.monitoring.outliers import unusual
from pipeline.monitoring.report.incidents import Incident, incidents
from pipeline.monitoring.report.report_data import ReportData
from pipeline.monitoring.trend import Level, Trend, read_level, read_trend
from pipeline.spans import Naming

Mood = Literal["well", "look", "act"]

# What stands in front of the sentence: a word and a sign, so that no colour is needed.
MOODS: dict[Mood, str] = {"well": "✓ All is well", "look": "! Worth a look", "act": "✗ Needs you"}


@dataclasses.dataclass(frozen=True)
class Summary:
    """The head of the page.

    Attributes:
      mood: how urgent it is.
      state: what is served and what came of the last span.
      level, trend: is what is served good, and is it getting better or worse.
      incidents: what was held or refused, the newest first.
      todo: what to do about it, a sentence each; empty for nothing.
    """

    mood: Mood
    state: str
    level: Level
    trend: Trend
    incidents: tuple[Incident, ...]
    todo: tuple[str, ...]

    @property
    def word(self) -> str:
        return MOODS[self.mood]


def summarize(data: ReportData, naming: Naming) -> Summary:
    """How the recommender is doing."""
    latest = data.runs[-1]
    level = read_level(data.runs, data.metric, data.k)
    trend = read_trend(data.runs, data.metric, data.k, data.unit)
    act, look = _acts(data), [*_quality(level, trend), *_looks(data, naming)]
    mood: Mood = "act" if act else "look" if look else "well"
    # The ledger says what was pushed; what is served may have been rolled back since.
    serving = f"Version {data.served[0].version} is served." if data.served else "Nothing is served yet."
    if latest.state != "done":
        came = f"is {latest.state}"
    elif latest.action == "skip":
        came = f"was skipped: {latest.reason.rstrip('.')}"
    else:
        came = "was learned, and its model pushed" if latest.pushed else "was learned, and its model refused"
    state = f"{serving} {latest.name} {came}."
    return Summary(mood, state, level, trend, tuple(incidents(data.runs)), (*act, *look))


def _quality(level: Level, trend: Trend) -> list[str]:
    """What to do about quality: a curve that falls is never well, whatever the reason."""
    remarks = []
    if level.good is False:
        remarks.append(
            "What is served does worse than the most popular items: retrain it (`warmspan run --decide retrain`), or "
            "take it back (`warmspan rollback`)."
        )
    if trend.direction == "worse":
        remarks.append(
            {
                "model": "Quality falls, and the model is the cause: see below in which slices; "
                "`warmspan run --decide retrain` begins with fresh weights, `warmspan backtest` compares policies.",
                "days": "Quality falls with the days: look at what the data bring that is new; nothing shows a fault "
                "of the model.",
            }.get(trend.cause, "Quality falls: see below in which slices, and whether the data changed.")
        )
    return remarks


def what_changed(data: ReportData, naming: Naming) -> list[str]:
    """The last span beside the ones before it, a sentence each."""
    latest, before = data.runs[-1], list(data.runs[:-1])
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
        lines.append(f"{latest.events:,} events{beside}; {latest.balance}.")
    if latest.new_items is not None and latest.item_rows:
        lines.append(
            f"{latest.new_items:,} new items and {latest.new_keys or 0:,} new keys: the tables have "
            f"{latest.item_rows:,} and {latest.key_rows or 0:,} rows."
        )
    if latest.retired_items or latest.retired_keys:
        lines.append(
            f"{latest.retired_items:,} items and {latest.retired_keys:,} keys lost their rows (`vocabulary.*_max_age`, "
            "`vocabulary.max_*`)."
        )
    name, quality = data.metric, latest.next_span.get(data.metric)
    past = [value for run in before if (value := run.next_span.get(name)) is not None]
    if quality is not None and past:
        lines.append(
            f"The champion's next-span {title(name, data.k)} was {quality:.3f}, {past[-1]:.3f} on the span before."
        )
    return lines


def _acts(data: ReportData) -> list[str]:
    latest, serving_state = data.runs[-1], data.serving_state
    actions = []
    actions += [_held(run) for run in data.runs[-1:] if run.state == "held"]
    if latest.state not in ("done", "held"):
        still = " The champion is still in service." if data.served else ""
        actions.append(f"{latest.name} is {latest.state}: see its log, then run it again.{still}")
    if serving_state is not None and serving_state.left:
        actions.append(
            f"Revoked and still in the folder: {', '.join(map(str, serving_state.left))}. Give the same "
            "`warmspan rollback` again."
        )
    if serving_state is not None and serving_state.problem:
        actions.append(serving_state.problem)
    return actions


def _looks(data: ReportData, naming: Naming) -> list[str]:
    latest, serving_state = data.runs[-1], data.serving_state
    remarks = []
    remarks += [_held(run) for run in data.runs[:-1] if run.state == "held"]
    refused = [run for run in data.runs if run.verdict and run.pushed is None]
    if latest.verdict and latest.pushed is None:
        row = _in_a_row(data.runs)
        often = f" That is {row} in a row." if row > 1 else ""
        remarks.append(
            f"The gate refused the candidate of {latest.name}: the verdict below says in which slice.{often} The next "
            "run tries again with this span's events too."
        )
    if latest.revoked:
        remarks.append(
            f"Version {latest.pushed} was taken back: {latest.revoked_reason}. The next run starts before it."
        )
    if serving_state is not None and serving_state.owed and not (latest.verdict and refused and latest is refused[-1]):
        names = ", ".join(map(naming.format, serving_state.owed))
        remarks.append(f"The champion owes {names}: the next run learns what it has not seen.")
    if serving_state is not None and serving_state.learning:
        remarks.append(f"The next fine-tuning {serving_state.learning}.")
    if latest.drift:
        remarks.append(f"Drift: {latest.drift}")
    if data.anomalies:
        columns = ", ".join(sorted({anomaly.column for anomaly in data.anomalies}))
        remarks.append(f"The span does not fit its schema in {columns}: see the data below.")
    remarks += unusual(latest, data.runs[:-1])
    return remarks


def _held(run: Run) -> str:
    if run.released:
        return f"{run.name} is released: the next run takes it up."
    return f"{run.name} is held: look at its files, and put them right or let it in: `warmspan release {run.name}`."


def _usual(values: Sequence[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _in_a_row(runs: Sequence[Run]) -> int:
    count = 0
    for run in reversed(runs):
        if not run.verdict or run.pushed is not None:
            break
        count += 1
    return count
