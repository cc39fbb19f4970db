"""The report's plots, as SVG. Told apart by marker, line and hatching as well as by colour."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
import statistics
from collections.abc import Iterator, Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pipeline.ledger import Run
from pipeline.report.facts import Facts
from pipeline.spans import Naming

# Okabe and Ito's colours (2008), which people with any kind of colour vision can tell apart.
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
# Small, so that a phone shows a plot at about its own size.
_WIDTH, _HEIGHT = 4.6, 2.7
_MOST_TICKS = 6
_FEWEST_BARS = 5
_NOTHING: dict[str, str | None] = {"Creator": None, "Date": None, "Format": None, "Type": None}
_STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "svg.fonttype": "none",
    "svg.hashsalt": "warmspan",
}


@dataclasses.dataclass(frozen=True)
class Plot:
    """A picture as a `data:` address, with what it shows in words for those who do not see it."""

    title: str
    source: str
    words: str


def draw_plots(facts: Facts, naming: Naming) -> list[Plot]:
    """Quality, events, new ids, table sizes and time; what has no number yet is left out."""
    runs = facts.runs
    plots = []
    if facts.metric:
        plots.append(_quality(facts, naming))
    plots.append(_counts("Events", runs, naming, {"events": "events"}))
    plots.append(_counts("Rows that were not used", runs, naming, {"rejects": "rejects", "duplicates": "duplicates"}))
    plots.append(_counts("New ids", runs, naming, {"new_items": "new items", "new_keys": "new keys"}))
    plots.append(_counts("Rows in the tables", runs, naming, {"item_rows": "item rows", "key_rows": "key rows"}))
    plots.append(_seconds(runs))
    return plots


def _quality(facts: Facts, naming: Naming) -> Plot:
    lines = {
        "candidate at the gate": [run.candidate.get(facts.metric) for run in facts.runs],
        "champion at the gate": [run.champion.get(facts.metric) for run in facts.runs],
        "champion, next span": [run.next_span.get(facts.metric) for run in facts.runs],
    }
    looks = (("s", "-", BLUE), ("^", "--", ORANGE), ("o", ":", GREEN))
    with _drawing(_HEIGHT + 0.3) as (figure, axes):
        spans = [run.span for run in facts.runs]
        for (label, values), (marker, line, colour) in zip(lines.items(), looks, strict=True):
            if any(value is not None for value in values):
                numbers = [float("nan") if value is None else value for value in values]
                axes.plot(spans, numbers, label=label, marker=marker, linestyle=line, color=colour)
        refused = [run for run in facts.runs if run.verdict and run.pushed is None]
        if refused:
            heights = [run.candidate.get(facts.metric, 0.0) for run in refused]
            spots = [run.span for run in refused]
            axes.plot(spots, heights, "x", color="black", markersize=10, markeredgewidth=2, label="refused")
        axes.set_ylim(bottom=0)
        _span_axis(axes, facts.runs, naming)
        _legend(axes)
        return _plot(figure, f"Quality: {facts.metric}", _series_words(facts.runs, lines))


def _counts(title: str, runs: Sequence[Run], naming: Naming, fields: Mapping[str, str]) -> Plot:
    series = {label: [getattr(run, field) for run in runs] for field, label in fields.items()}
    looks = ((BLUE, ""), (ORANGE, "////"))[: len(series)]
    with _drawing() as (figure, axes):
        width = 0.8 / len(series)
        for place, ((label, values), (colour, hatch)) in enumerate(zip(series.items(), looks, strict=True)):
            at = [run.span + (place - (len(series) - 1) / 2) * width for run in runs]
            axes.bar(
                at, [value or 0 for value in values], width, label=label, color=colour, hatch=hatch, edgecolor="white"
            )
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        _span_axis(axes, runs, naming)
        if len(series) > 1:
            _legend(axes)
        return _plot(figure, title, _series_words(runs, series))


def _seconds(runs: Sequence[Run]) -> Plot:
    """The last span's seconds a node, the slowest first, beside the median of the spans before it."""
    latest = runs[-1].seconds
    nodes = sorted(latest, key=lambda node: latest[node])
    usual = {
        node: statistics.median(seen)
        for node in nodes
        if (seen := [r.seconds[node] for r in runs[:-1] if node in r.seconds])
    }
    places = max(len(nodes), _FEWEST_BARS)
    with _drawing(0.8 + 0.24 * places) as (figure, axes):
        axes.barh(nodes, [latest[node] for node in nodes], color=BLUE, label=runs[-1].name)
        if usual:
            axes.plot(
                list(usual.values()), list(usual), "D", color="black", markerfacecolor="white", label="median before"
            )
        axes.set_ylim(-0.6, places - 0.4)
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("seconds")
        _legend(axes)
        words = ", ".join(f"{node} {latest[node]:.1f}" for node in reversed(nodes))
        return _plot(figure, "Seconds a node", f"{runs[-1].name}: {words}" if nodes else "nothing has run")


@contextlib.contextmanager
def _drawing(height: float = _HEIGHT) -> Iterator[tuple[Figure, Axes]]:
    with matplotlib.rc_context(_STYLE):
        figure = Figure((_WIDTH, height), layout="constrained")
        yield figure, figure.add_subplot()


def _span_axis(axes: Axes, runs: Sequence[Run], naming: Naming) -> None:
    spans = [run.span for run in runs]
    step = -(-(spans[-1] - spans[0] + 1) // _MOST_TICKS)
    ticks = range(spans[-1], spans[0] - 1, -step)
    axes.set_xticks(ticks, [naming.format(span)[5:] if naming.dated else str(span) for span in ticks])
    axes.set_xlim(spans[0] - 0.6, spans[-1] + 0.6)
    axes.set_xlabel("month-day" if naming.dated else "span")


def _legend(axes: Axes) -> None:
    axes.figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=8)


def _series_words(runs: Sequence[Run], series: Mapping[str, Sequence[float | None]]) -> str:
    """The last value of each line, for whoever can't see the plot; the table has the others."""
    latest = [(label, values[-1]) for label, values in series.items() if values[-1] is not None]
    numbers = ", ".join(
        f"{label} {value:,.4g}" if isinstance(value, float) else f"{label} {value:,}" for label, value in latest
    )
    return f"{len(runs)} spans to {runs[-1].name}, where: {numbers or 'no number yet'}"


def _plot(figure: Figure, title: str, words: str) -> Plot:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata=_NOTHING)
    return Plot(title, "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode(), words)
