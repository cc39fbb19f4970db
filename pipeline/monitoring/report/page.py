"""Puts the page together and writes it."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from pathlib import Path

import jinja2
import markupsafe
from rich.filesize import decimal

from components.span_pusher.verdict import BASELINE, CANDIDATE
from pipeline.config import Config
from pipeline.explain.explainer import METHODS
from pipeline.ledger.runs import Run, read_ledger
from pipeline.metrics import LOWER_IS_BETTER, title
from pipeline.monitoring.report.glossary import DEFINITIONS
from pipeline.monitoring.report.incidents import incident_of, rounded
from pipeline.monitoring.report.lineage_plot import draw_lineage
from pipeline.monitoring.report.model_lineage import FATES
from pipeline.monitoring.report.plots import draw_costs, draw_data
from pipeline.monitoring.report.quality_plots import (
    draw_gate,
    draw_lists,
    draw_losses,
    draw_quality,
    draw_shelf,
    draw_slices,
    draw_slices_over_time,
)
from pipeline.monitoring.report.report_data import ReportData, read_report_data
from pipeline.monitoring.report.summary import summarize, what_changed
from pipeline.monitoring.report.svg import Plot
from pipeline.spans import Naming
from trainer.atomic_write import atomic_write

NIGHTLY = "report.html"
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
    page = render(
        read_report_data(config, runs), Naming(config.data.dated), datetime.datetime.now(datetime.timezone.utc)
    )
    try:
        with atomic_write(out) as beside:
            beside.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ReportError(f"`--out` must be a file that can be written. Received: {out} ({error.strerror}).") from None
    return out


def render(data: ReportData, naming: Naming, written: datetime.datetime) -> str:
    """The page's HTML; everything from the data is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(count=_count, number=_number, change=_change, action=_action, span=naming.format)
    environment.filters.update(figure=_figure, bytes=decimal, signed=_signed, rounded=rounded, code=_code)
    used: list[str] = []

    def note(word: str) -> int:
        """The number of a definition, in the order in which the page first needs it."""
        if word not in used:
            used.append(word)
        return used.index(word) + 1

    slices = {} if data.verdict is None else {name: _slice(name) for name in data.verdict.metrics}
    # The last macro call of the page lists what `note` has collected.
    return environment.get_template("page.html.j2").render(
        data=data,
        latest=data.runs[-1],
        summary=summarize(data, naming),
        changes=what_changed(data, naming),
        trend_plot=draw_quality(data, naming),
        quality_plots=_quality(data, naming),
        data_plots=draw_data(data, naming),
        cost_plots=draw_costs(data, naming),
        incident_of=incident_of,
        headline=title(data.metric, data.k),
        title=lambda metric: title(metric, data.k),
        slices=slices,
        slice_plot=None if data.verdict is None else draw_slices(data.verdict, data.metric, slices, data.few_events),
        lineage_plot=draw_lineage(data.lineage, naming),
        fates=FATES,
        methods=METHODS,
        explained=[]
        if data.sample_users is None
        else [sample_user for sample_user in data.sample_users.users if sample_user.why is not None],
        metrics=_metrics(data.runs),
        lower_is_better=LOWER_IS_BETTER,
        candidate=CANDIDATE,
        champion=BASELINE,
        written=written.strftime("%Y-%m-%d %H:%M UTC"),
        note=note,
        used=used,
        definitions=DEFINITIONS,
    )


def _quality(data: ReportData, naming: Naming) -> list[Plot]:
    plots = (
        draw_gate(data, naming),
        *draw_slices_over_time(data, naming),
        draw_shelf(data, naming),
        *draw_lists(data.runs, naming),
        None if data.losses is None else draw_losses(*data.losses),
    )
    return [plot for plot in plots if plot is not None]


def _metrics(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in (*run.next_span, *run.candidate)))


def _slice(name: str) -> str:
    return name.replace("_slice:", ": ")


def _action(action: str) -> str:
    return _ACTIONS.get(action, action) or "-"


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _code(text: str) -> markupsafe.Markup:
    """Text in which what stands between backticks is to be typed."""
    return markupsafe.Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(markupsafe.escape(text))))


def _signed(value: float) -> str:
    return f"{round(value, 3) + 0.0:+.3f}"


def _change(value: float, lower_is_better: bool) -> str:
    """A difference with a word for its sense, for those who do not see a colour."""
    if abs(value) < 0.0005:
        return "same"
    better = (value < 0) == lower_is_better
    return f"{value:+.3f} {'better' if better else 'worse'}"


def _figure(value: float | str | None) -> str:
    if value is None or isinstance(value, str):
        return value or "-"
    return f"{value:,.0f}" if value == round(value) else f"{value:,.4g}"
