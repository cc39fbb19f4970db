"""The report's plots over the days. Told apart by marker, line and hatching as well as by colour."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from components.span_pusher.verdict import BASELINE, CANDIDATE, Verdict
from pipeline.ledger.runs import Run
from pipeline.monitoring.report.report_data import ReportData
from pipeline.monitoring.report.svg import BLUE, GREEN, HEIGHT, ORANGE, Plot, drawing, finish, legend, span_axis
from pipeline.monitoring.report.training_cost import Cost
from pipeline.spans import Naming

_FEWEST_BARS = 5


def draw_plots(data: ReportData, naming: Naming) -> list[Plot]:
    """Quality, events, new ids, table sizes, cost and time; what has no number yet is left out."""
    runs = data.runs
    plots = []
    if data.metric:
        plots.append(_quality(data, naming))
    plots.append(_counts("Events", runs, naming, {"events": "events"}))
    plots.append(_counts("Rows that were not used", runs, naming, {"rejects": "rejects", "duplicates": "duplicates"}))
    plots.append(_counts("New ids", runs, naming, {"new_items": "new items", "new_keys": "new keys"}))
    plots.append(_counts("Rows in the tables", runs, naming, {"item_rows": "item rows", "key_rows": "key rows"}))
    if data.costs:
        plots.append(_costs(data.costs, naming))
    plots.append(_seconds(runs))
    return plots


def draw_slices(verdict: Verdict, metric: str, names: Mapping[str, str]) -> Plot | None:
    """The difference of candidate and champion in each slice, with its bounds where the gate has them."""
    differences = {}
    for of_slice, of_metric in verdict.metrics.items():
        values = of_metric.get(metric, {})
        if CANDIDATE in values and BASELINE in values:
            differences[of_slice] = values[CANDIDATE] - values[BASELINE]
    if not differences:
        return None
    with drawing(0.75 + 0.26 * max(len(differences), 3), left=0.95) as (figure, axes):
        for place, (of_slice, value) in enumerate(reversed(differences.items())):
            bounds = verdict.intervals.get(of_slice, {}).get(metric)
            if bounds:
                axes.plot(bounds, [place, place], "-|", color=BLUE, markersize=8)
            axes.plot([value], [place], "o", color=BLUE, markersize=6)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_yticks(range(len(differences)), [names.get(name, name) for name in reversed(differences)])
        axes.set_ylim(-0.6, max(len(differences), 3) - 0.4)
        axes.grid(axis="x")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(f"{metric}: candidate minus champion")
        words = ", ".join(f"{names.get(name, name)} {value:+.4f}" for name, value in differences.items())
        return finish(figure, f"Candidate minus champion: {metric}", words)


def _quality(data: ReportData, naming: Naming) -> Plot:
    lines = {
        "candidate at the gate": [run.candidate.get(data.metric) for run in data.runs],
        "champion at the gate": [run.champion.get(data.metric) for run in data.runs],
        "champion, next span": [run.next_span.get(data.metric) for run in data.runs],
    }
    looks = (("s", "-", BLUE), ("^", "--", ORANGE), ("o", ":", GREEN))
    with drawing(HEIGHT + 0.3) as (figure, axes):
        spans = [run.span for run in data.runs]
        for (label, values), (marker, style, colour) in zip(lines.items(), looks, strict=True):
            if any(value is not None for value in values):
                numbers = [float("nan") if value is None else value for value in values]
                axes.plot(spans, numbers, label=label, marker=marker, linestyle=style, color=colour)
        marks = {
            "refused": ("x", [run for run in data.runs if run.verdict and run.pushed is None]),
            "revoked since": ("+", [run for run in data.runs if run.revoked]),
        }
        for label, (marker, marked) in marks.items():
            if marked:
                heights = [run.candidate.get(data.metric, 0.0) for run in marked]
                spots = [run.span for run in marked]
                (line,) = axes.plot(spots, heights, marker, label=label, color="black", linestyle="")
                line.set(markersize=11, markeredgewidth=2)
        tops = [value for values in lines.values() for value in values if value is not None]
        axes.set_ylim(0, 1.08 * max(tops, default=1.0) or 1.0)
        span_axis(axes, data.runs, naming)
        legend(figure, axes)
        return finish(figure, f"Quality: {data.metric}", _series_words(data.runs, lines))


def _counts(title: str, runs: Sequence[Run], naming: Naming, fields: Mapping[str, str]) -> Plot:
    series = {label: [getattr(run, field) for run in runs] for field, label in fields.items()}
    looks = ((BLUE, ""), (ORANGE, "////"))[: len(series)]
    with drawing() as (figure, axes):
        width = 0.8 / len(series)
        for place, ((label, values), (colour, hatch)) in enumerate(zip(series.items(), looks, strict=True)):
            at = [run.span + (place - (len(series) - 1) / 2) * width for run in runs]
            axes.bar(
                at, [value or 0 for value in values], width, label=label, color=colour, hatch=hatch, edgecolor="white"
            )
        if not any(value for values in series.values() for value in values):
            axes.set_ylim(0, 1)  # around a nought alone there would be ticks of all kinds of noughts
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        span_axis(axes, runs, naming)
        if len(series) > 1:
            legend(figure, axes)
        return finish(figure, title, _series_words(runs, series))


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
        return finish(figure, "Seconds a node", f"{runs[-1].name}: {words}" if nodes else "nothing has run")


def _series_words(runs: Sequence[Run], series: Mapping[str, Sequence[float | None]]) -> str:
    """The last value of each line, for whoever can't see the plot; the table has the others."""
    latest = [(label, values[-1]) for label, values in series.items() if values[-1] is not None]
    numbers = ", ".join(
        f"{label} {value:,.4g}" if isinstance(value, float) else f"{label} {value:,}" for label, value in latest
    )
    return f"{len(runs)} spans to {runs[-1].name}, where: {numbers or 'no number yet'}"
