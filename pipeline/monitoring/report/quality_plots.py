"""The report's plots of quality: over the days beside the most popular items, by slice, what is recommended, losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from components.span_pusher.verdict import BASELINE, CANDIDATE, Verdict
from pipeline.ledger.runs import Run
from pipeline.metrics import title
from pipeline.monitoring.report.report_data import ReportData
from pipeline.monitoring.report.svg import (
    BLUE,
    FAINT,
    GREEN,
    HEIGHT,
    ORANGE,
    PURPLE,
    Plot,
    drawing,
    finish,
    legend,
    series_words,
    span_axis,
)
from pipeline.spans import Naming
from trainer.training_log import Losses

_LOOKS = {"new": ("^", "--", ORANGE), "cold": ("s", "-.", GREEN), "warm": ("o", "-", BLUE)}
_BY_EVENTS = {
    "0": ("^", "--", ORANGE),
    "1-4": ("s", "-.", GREEN),
    "5-19": ("D", ":", "black"),
    "20-99": ("v", "--", PURPLE),
    "100+": ("o", "-", BLUE),
}
_SLICES = {"item_slice": "items", "item_events": "events that an item had before", "key_slice": "keys"}
_COUNTED = 8  # faint points that have room for their counts
_WIDE = 6.4  # inches, of the plot on the first screen


def draw_quality(data: ReportData, naming: Naming) -> Plot | None:
    """The champion on each span before it is learned, the most popular items on the same events, bounds of both."""
    runs, metric = data.runs, data.metric
    champion = [run.next_span.get(metric) for run in runs]
    popular = [value[0] if (value := run.surroundings.popularity.get(metric)) else None for run in runs]
    if all(value is None for value in champion):
        return None
    with drawing(HEIGHT, _WIDE) as (figure, axes):
        spans = [run.span for run in runs]
        axes.plot(spans, _numbers(champion), "o-", color=BLUE, label="champion")
        _band(axes, runs, lambda run: run.surroundings.champion.get(metric), BLUE)
        if any(value is not None for value in popular):
            axes.plot(spans, _numbers(popular), "^--", color=ORANGE, label="most popular items")
            _band(axes, runs, lambda run: run.surroundings.popularity.get(metric), ORANGE)
        tops = [value for value in (*champion, *popular) if value is not None]
        tops += [of[metric][2] for run in runs if metric in (of := run.surroundings.champion)]
        top = 1.08 * max(tops) or 1.0
        for label, marker, marked in (
            ("held", "s", [run.span for run in runs if run.state == "held"]),
            ("refused", "x", [run.span for run in runs if run.verdict and run.pushed is None]),
            ("taken back", "+", [run.span for run in runs if run.revoked]),
        ):
            if marked:
                (line,) = axes.plot(marked, [0.03 * top] * len(marked), marker, color="black", ls="", label=label)
                line.set(markersize=7, markeredgewidth=1.8, markerfacecolor="none", clip_on=False)
        axes.set_ylim(0, top)
        span_axis(axes, runs, naming)
        legend(figure, axes, columns=5)
        words = series_words(runs, {"champion": champion, "most popular items": popular})
        bounds = ", with 95 % bounds" if any(run.surroundings.champion for run in runs) else ""
        return finish(figure, f"{title(metric, data.k)} on each span before it is learned{bounds}", words)


def draw_gate(data: ReportData, naming: Naming) -> Plot | None:
    """Candidate and champion on the events that judged them."""
    runs, metric = data.runs, data.metric
    lines = {
        "candidate": [run.candidate.get(metric) for run in runs],
        "champion": [run.champion.get(metric) for run in runs],
    }
    tops = [value for values in lines.values() for value in values if value is not None]
    if not tops:
        return None
    with drawing() as (figure, axes):
        spans = [run.span for run in runs]
        for (label, values), look in zip(lines.items(), (("s", "-", BLUE), ("^", "--", ORANGE)), strict=True):
            if any(value is not None for value in values):
                _line(axes, spans, values, look, label)
        for label, marker, marked in (
            ("refused", "x", [run for run in runs if run.verdict and run.pushed is None]),
            ("taken back", "+", [run for run in runs if run.revoked]),
        ):
            if marked:
                heights = [run.candidate.get(metric, 0.0) for run in marked]
                (line,) = axes.plot([run.span for run in marked], heights, marker, label=label, color="black", ls="")
                line.set(markersize=11, markeredgewidth=2)
        axes.set_ylim(0, 1.08 * max(tops) or 1.0)
        span_axis(axes, runs, naming)
        legend(figure, axes, columns=4)
        return finish(figure, f"At the gate: {title(metric, data.k)}", series_words(runs, lines))


def draw_slices_over_time(data: ReportData, naming: Naming) -> list[Plot]:
    """Next-span quality of new, cold and warm items, and of keys; a slice of few events faintly, with its count.

    Of items also by their events before, where there is a catalogue.
    """
    return [plot for column in _SLICES if (plot := _slices_over_time(data, naming, column)) is not None]


def draw_shelf(data: ReportData, naming: Naming) -> Plot | None:
    """The champion's next-span recall of items without events, among these alone, beside what chance finds."""
    runs = [run for run in data.runs if run.surroundings.shelf]
    if not runs:
        return None
    series = {name: [run.surroundings.shelf.get(name) for run in runs] for name in ("recall", "chance")}
    with drawing() as (figure, axes):
        for (name, values), look in zip(series.items(), (("o", "-", BLUE), ("^", "--", ORANGE)), strict=True):
            _line(axes, [run.span for run in runs], values, look, name)
        axes.set_ylim(0, 1.15 * max([value for of in series.values() for value in of if value is not None]) or 1.0)
        span_axis(axes, runs, naming)
        legend(figure, axes)
        size, events = (round(runs[-1].surroundings.shelf[name]) for name in ("size", "events"))
        words = f"{series_words(runs, series)}; last of {size:,} items, on {events} events"
        return finish(figure, f"The shelf: {title('recall', data.k)} among items without events", words)


def _slices_over_time(data: ReportData, naming: Naming, column: str) -> Plot | None:
    lines: dict[str, dict[int, tuple[float, int]]] = {}
    for span, slices in data.slices.items():
        for where, of in slices.items():
            if where.startswith(f"{column}:") and data.metric in of:
                lines.setdefault(where.partition(":")[2], {})[span] = (of[data.metric], round(of.get("events", 0)))
    if not lines:
        return None
    few = {label: [span for span, (_, n) in line.items() if n < data.few_events] for label, line in lines.items()}
    with drawing() as (figure, axes):
        for label, (marker, style, colour) in (_BY_EVENTS if column == "item_events" else _LOOKS).items():
            line = lines.get(label, {})
            spans = sorted(line)
            if not spans:
                continue
            faint = set(few[label])
            axes.plot(spans, [line[span][0] for span in spans], style, color=colour, alpha=FAINT, linewidth=1)
            sure = [line[span][0] if span not in faint else math.nan for span in spans]
            axes.plot(spans, sure, marker=marker, linestyle=style, color=colour, label=label)
            for at, span in enumerate(sorted(faint)):
                value, events = line[span]
                axes.plot([span], [value], marker, color=colour, alpha=FAINT, markerfacecolor="none")
                if at % -(-len(faint) // _COUNTED) == 0:
                    axes.annotate(
                        str(events),
                        (span, value),
                        (0, 4),
                        textcoords="offset points",
                        ha="center",
                        fontsize=6.5,
                        color=colour,
                    )
        tops = [value for line in lines.values() for value, _ in line.values()]
        axes.set_ylim(0, 1.15 * max(tops) or 1.0)
        span_axis(axes, data.runs, naming)
        if any(few.values()):
            (mark,) = axes.plot([], [], "o", color="black", alpha=FAINT, label=f"fewer than {data.few_events} events")
            mark.set_markerfacecolor("none")
        legend(figure, axes, columns=4)
        last = {label: line[max(line)] for label, line in lines.items()}
        words = ", ".join(f"{label} {value:.3g} on {events} events" for label, (value, events) in last.items())
        return finish(figure, f"{title(data.metric, data.k)} by {_SLICES[column]}", f"Last: {words}")


def draw_slices(verdict: Verdict, metric: str, names: Mapping[str, str], few_events: int = 0) -> Plot | None:
    """The difference of candidate and champion in each slice with its bounds; of fewer than `few_events` faintly."""
    differences = {}
    for of_slice, of_metric in verdict.metrics.items():
        values = of_metric.get(metric, {})
        if CANDIDATE in values and BASELINE in values:
            differences[of_slice] = values[CANDIDATE] - values[BASELINE]
    if not differences:
        return None
    with drawing(0.75 + 0.26 * max(len(differences), 3), left=1.35) as (figure, axes):
        labels, ends = [], [0.0]
        for place, (of_slice, value) in enumerate(reversed(differences.items())):
            events = verdict.events.get(of_slice)
            alpha = FAINT if events is not None and events < few_events else 1.0
            bounds = verdict.intervals.get(of_slice, {}).get(metric)
            if bounds:
                axes.plot(bounds, [place, place], "-|", color=BLUE, markersize=8, alpha=alpha)
            axes.plot([value], [place], "o", color=BLUE, markersize=6, alpha=alpha)
            # The bounds of a handful of events reach beyond any picture: they are cut off.
            ends += [value, *(bounds if bounds and alpha == 1 else ())]
            labels.append(names.get(of_slice, of_slice) + ("" if events is None else f" ({events:,})"))
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(-0.6, max(len(labels), 3) - 0.4)
        margin = 0.15 * (max(ends) - min(ends)) or 0.1
        axes.set_xlim(min(ends) - margin, max(ends) + margin)
        axes.grid(axis="x")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(f"{metric}: candidate minus champion")
        words = ", ".join(f"{names.get(name, name)} {value:+.4f}" for name, value in differences.items())
        return finish(figure, f"Candidate minus champion: {metric}", words)


def draw_lists(runs: Sequence[Run], naming: Naming) -> list[Plot]:
    """How much of the catalogue is recommended, and how popular it is beside what was taken."""
    percent = {
        "Coverage of the catalogue": {"coverage": "items in any list"},
        "Popularity percentile": {"recommended": "recommended", "taken": "taken"},
    }
    plots = []
    for heading, figures in percent.items():
        series = {label: [run.surroundings.served_lists.get(name) for run in runs] for name, label in figures.items()}
        if any(value is not None for values in series.values() for value in values):
            with drawing() as (figure, axes):
                for (label, values), look in zip(series.items(), (("o", "-", BLUE), ("^", "--", ORANGE)), strict=False):
                    _line(axes, [run.span for run in runs], values, look, label)
                axes.set_ylim(0, 1.03)
                axes.yaxis.set_major_formatter(PercentFormatter(1.0))
                span_axis(axes, runs, naming)
                if len(series) > 1:
                    legend(figure, axes)
                plots.append(finish(figure, heading, series_words(runs, series)))
    return plots


def draw_losses(name: str, losses: Losses) -> Plot | None:
    """The night's training loss by step, and what was watched on the held-out part after each epoch."""
    if not losses.steps:
        return None
    with drawing() as (figure, axes):
        axes.plot(losses.steps, losses.losses, "-", color=BLUE, label="training loss", linewidth=1.2)
        held_out = [(step, value) for step, _, _, value in losses.epochs if math.isfinite(value)]
        if held_out:
            watched = "loss" if losses.watch == "loss" else title(losses.watch, 20)
            own = axes if losses.watch == "loss" else axes.twinx()
            own.plot(*zip(*held_out, strict=True), "s--", color=ORANGE, label=f"held-out {watched}")
            if own is not axes:
                own.spines["right"].set_visible(True)
                own.grid(visible=False)
                own.yaxis.set_major_locator(MaxNLocator(5))
                axes.plot([], [], "s--", color=ORANGE, label=f"held-out {watched} (right)")
                box = axes.get_position()
                axes.set_position((box.x0, box.y0, box.width - 0.08, box.height))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlabel("optimizer step")
        legend(figure, axes)
        for own in figure.axes[1:]:
            own.set_position(axes.get_position())
        ends = f"training loss {losses.losses[0]:.3g} to {losses.losses[-1]:.3g}"
        spans = {span for _, span, _, _ in losses.epochs}
        over = f", {len(spans)} spans" if len(spans) > 1 else ""
        return finish(figure, f"The night's training, {name}{over}", f"{ends}, {len(losses.epochs)} epochs")


def _line(
    axes: Axes, spans: Sequence[int], values: Sequence[float | None], look: tuple[str, str, str], label: str
) -> None:
    marker, style, colour = look
    axes.plot(spans, _numbers(values), label=label, marker=marker, linestyle=style, color=colour)


def _band(axes: Axes, runs: Sequence[Run], bounds_of: Callable[[Run], Sequence[float] | None], colour: str) -> None:
    bounds = [bounds_of(run) or (math.nan,) * 3 for run in runs]
    spans = [run.span for run in runs]
    axes.fill_between(spans, [of[1] for of in bounds], [of[2] for of in bounds], color=colour, alpha=0.18, linewidth=0)


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]
