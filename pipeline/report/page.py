"""Puts the page together and writes it."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from pathlib import Path

import jinja2

from components.span_pusher.verdict import BASELINE, CANDIDATE
from pipeline.config import Config
from pipeline.gate import LOWER_IS_BETTER
from pipeline.ledger import Run, read_ledger
from pipeline.report.definitions import DEFINITIONS
from pipeline.report.facts import Facts, read_facts
from pipeline.report.plots import draw_plots
from pipeline.spans import Naming

_ACTIONS = {"fine_tune": "fine-tune", "cold_start": "cold start"}


class ReportError(ValueError):
    """There is nothing to report, or no place to write it; the message says which."""


def write_report(config: Config, out: Path, days: int = 30) -> Path:
    """Writes the last `days` (at least 1) spans of the ledger to `out`, as one HTML page that needs no network.

    Raises:
      ReportError: no span has been run, or `out` can't be written.
    """
    runs = read_ledger(config)[-days:]
    if not runs:
        raise ReportError(
            "A report must have at least one span. Received: none in the ledger. Start with `warmspan run`."
        )
    page = render(read_facts(config, runs), Naming(config.data.dated), datetime.datetime.now(datetime.timezone.utc))
    beside = out.with_name(f".{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(page, encoding="utf-8")
        os.replace(beside, out)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ReportError(f"`--out` must be a file that can be written. Received: {out} ({error.strerror}).") from None
    return out


def render(facts: Facts, naming: Naming, written: datetime.datetime) -> str:
    """The page's HTML; everything from the data is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(count=_count, number=_number, change=_change, action=_action, span=naming.format)
    used: list[str] = []

    def note(word: str) -> int:
        """The number of a definition, in the order in which the page first needs it."""
        if word not in used:
            used.append(word)
        return used.index(word) + 1

    # The last macro call of the page lists what `note` has collected.
    return environment.get_template("page.html.j2").render(
        facts=facts,
        latest=facts.runs[-1],
        state=_state(facts),
        plots=draw_plots(facts, naming),
        metrics=_metrics(facts.runs),
        lower_is_better=LOWER_IS_BETTER,
        candidate=CANDIDATE,
        champion=BASELINE,
        written=written.strftime("%Y-%m-%d %H:%M UTC"),
        note=note,
        used=used,
        definitions=DEFINITIONS,
    )


def _metrics(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in (*run.next_span, *run.candidate)))


def _state(facts: Facts) -> str:
    """How the recommender is doing, in a sentence or two."""
    latest = facts.runs[-1]
    # The ledger says what was pushed; what is served may have been rolled back since.
    serving = f"Version {facts.served[0].version} is served." if facts.served else "Nothing is served yet."
    if latest.state != "done":
        return f"{serving} {latest.name} is {latest.state}: see its log, then run it again."
    if latest.action == "skip":
        return f"{serving} {latest.name} was skipped: {latest.reason}"
    return f"{serving} {latest.name}: {latest.verdict}"


def _action(action: str) -> str:
    return _ACTIONS.get(action, action) or "-"


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _change(value: float, lower_is_better: bool) -> str:
    """A difference with a word for its sense, for those who do not see a colour."""
    if abs(value) < 0.00005:
        return "same"
    better = (value < 0) == lower_is_better
    return f"{value:+.4f} {'better' if better else 'worse'}"
