"""The report's plots over the days. Told apart by marker, line and hatching as well as by colour."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from pipeline.ledger.runs import Run
from pipeline.monitoring.report.report_data import ReportData
from pipeline.monitoring.report.svg import BLUE, ORANGE, Plot, drawing, finish, legend, series_words, span_axis
from pipeline.monitoring.report.training_cost import Cost
from pipeline.spans import Naming

_FEWEST_BARS = 5


def draw_data(data: ReportData, naming: Naming) -> list[Plot]:
    """Events, rows that were not used, new ids and table sizes; of what is nought on every span there is no plot."""
    runs = data.runs
    plots = (
        _counts("Events", runs, naming, {"events": "events"}),
        _counts("Rows that were not used", runs, naming, {"rejects": "rejects", "duplicates": "duplicates"}),
        _counts("New ids", runs, naming, {"new_items": "new items", "new_keys": "new keys"}),
        _counts("Rows in the tables", runs, naming, {"item_rows": "item rows", "key_rows": "key rows"}),
    )
    return [plot for plot in plots if plot is not None]


def draw_costs(data: ReportData, naming: Naming) -> list[Plot]:
    """Examples trained on, and seconds a node; what has no number yet is left out."""
    plots = (_costs(data.costs, naming) if data.costs else None, _seconds(data.runs))
    return [plot for plot in plots if plot is not None]


def _counts(title: str, runs: Sequence[Run], naming: Naming, fields: Mapping[str, str]) -> Plot | None:
    series = {label: [getattr(run, field) for run in runs] for field, label in fields.items()}
    if not any(value for values in series.values() for value in values):
        return None
    looks = ((BLUE, ""), (ORANGE, "////"))[: len(series)]
    with drawing() as (figure, axes):
        width = 0.8 / len(series)
        for place, ((label, values), (colour, hatch)) in enumerate(zip(series.items(), looks, strict=True)):
            at = [run.span + (place - (len(series) - 1) / 2) * width for run in runs]
            axes.bar(
                at, [value or 0 for value in values], width, label=label, color=colour, hatch=hatch, edgecolor="white"
            )
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        span_axis(axes, runs, naming)
        if len(series) > 1:
            legend(figure, axes)
        return finish(figure, title, series_words(runs, series))


def _costs(costs: Sequence[Cost], naming: Naming) -> Plot:
    """Examples trained on beside those of a full retrain, on a logarithmic axis: they lie far apart."""
    with drawing() as (figure, axes):
        at = range(len(costs))
        full = [cost.full_examples for cost in costs]
        axes.plot(at, full, "^--", color=ORANGE, label="a full retrain (estimated)")
        axes.plot(at, [cost.examples for cost in costs], "s-", color=BLUE, label="trained on")
        axes.set_yscale("log")
        axes.set_ylim(min(cost.examples for cost in costs) / 2, max(full) * 2)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        step = -(-len(costs) // 6)
        ticks = range(len(costs) - 1, -1, -step)
        axes.set_xticks(ticks, [costs[tick].name[5:] if naming.dated else costs[tick].name for tick in ticks])
        axes.set_xlim(-0.6, max(len(costs), 2) - 0.4)
        legend(figure, axes)
        last = costs[-1]
        words = f"{last.name}: {last.examples:,} examples, a full retrain {last.full_examples:,} (estimated)"
        return finish(figure, "Examples trained on", words)


def _seconds(runs: Sequence[Run]) -> Plot | None:
    """The last span's seconds a node, the slowest first, beside the median of the spans before it."""
    latest = runs[-1].seconds
    if not latest:
        return None
    nodes = sorted(latest, key=lambda node: latest[node])
    usual = {
        node: statistics.median(seen)
        for node in nodes
        if (seen := [r.seconds[node] for r in runs[:-1] if node in r.seconds])
    }
    places = max(len(nodes), _FEWEST_BARS)
    with drawing(0.8 + 0.24 * places, left=1.45) as (figure, axes):
        axes.barh(nodes, [latest[node] for node in nodes], color=BLUE, label=runs[-1].name)
        if usual:
            axes.plot(
                list(usual.values()), list(usual), "D", color="black", markerfacecolor="white", label="median before"
            )
        axes.set_ylim(-0.6, places - 0.4)
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("seconds")
        legend(figure, axes)
        words = ", ".join(f"{node} {latest[node]:.1f}" for node in reversed(nodes))
        return finish(figure, "Seconds a node", f"{runs[-1].name}: {words}")
