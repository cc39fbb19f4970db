"""The picture: quality and cost over the spans, a line a policy."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pipeline.backtest.results import Row
from pipeline.backtest.summary import by_policy
from pipeline.metrics import headline, title
from pipeline.spans import Naming
from trainer.atomic_write import atomic_write

# Okabe and Ito's colours (2008) without their yellow, which is too pale for a line on white. The numbers of colours,
# lines and markers have no common divisor, so that no look comes twice.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_WIDTH, _PANEL = 8.0, 2.7
_MOST_TICKS = 8
_MOST_MARKERS = 25
_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
}

Curve = dict[int, float]


def draw_curves(path: Path, rows: Sequence[Row], metrics: Sequence[str], k: int, naming: Naming) -> None:
    """Draws the next-span metrics and the training seconds so far as one PNG, beside first.

    A line is the mean over seeds; the band around it goes from the lowest seed to the highest.

    Args:
      path: the file.
      rows: of all policies, seeds and spans, in the order of the spans.
      metrics: their names; drawn are the first one and `mrr`.
      k: the cut-off of ranking metrics.
      naming: how the spans are written.
    """
    shown = list(dict.fromkeys([headline(metrics), *(name for name in metrics if name == "mrr")]))
    panels: dict[str, Callable[[Sequence[Row]], Curve]] = {
        f"next-span {title(name, k)}": functools.partial(_tested, metric=name, naming=naming) for name in shown
    }
    panels["training seconds so far"] = functools.partial(_seconds, naming=naming)
    policies = by_policy(rows)
    with matplotlib.rc_context(_STYLE):
        figure = Figure((_WIDTH, _PANEL * len(panels) + 0.25 * (len(policies) // 2 + 1)), layout="constrained")
        every = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
        for axes, (label, of) in zip(every, panels.items(), strict=True):
            for number, (policy, seeds) in enumerate(policies.items()):
                _line(axes, policy, [of(seed_rows) for seed_rows in seeds.values()], number)
            axes.set_ylabel(label)
            axes.yaxis.set_major_locator(MaxNLocator(5))
        every[-1].set_ylim(bottom=0)
        every[-1].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        _span_axis(every[-1], [naming.parse(row.span) for row in rows], naming)
        figure.align_ylabels(every)
        figure.legend(*every[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
        with atomic_write(path) as beside:
            figure.savefig(beside, format="png", dpi=150)


def _tested(rows: Sequence[Row], metric: str, naming: Naming) -> Curve:
    return {naming.parse(row.span): row.metrics[metric] for row in rows if row.events and metric in row.metrics}


def _seconds(rows: Sequence[Row], naming: Naming) -> Curve:
    if all(row.action == "count" for row in rows):
        return {}
    return dict(
        zip((naming.parse(row.span) for row in rows), np.cumsum([row.seconds for row in rows]).tolist(), strict=True)
    )


def _line(axes: Axes, label: str, seeds: Sequence[Mapping[int, float]], number: int) -> None:
    colour = _COLOURS[number % len(_COLOURS)]
    spans = sorted(set().union(*seeds))
    values = np.array([[seed.get(span, np.nan) for span in spans] for seed in seeds])
    if len(spans):
        axes.plot(
            spans, np.nanmean(values, axis=0), label=label, color=colour, linestyle=_LINES[number % len(_LINES)],
            marker=_MARKERS[number % len(_MARKERS)], markevery=-(-len(spans) // _MOST_MARKERS),
        )  # fmt: skip
    if len(spans) and len(seeds) > 1:
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        axes.fill_between(spans, low, high, color=colour, alpha=0.2, linewidth=0)


def spans_to_name(first: int, last: int) -> list[int]:
    """At most eight spans, equally far from each other, that have their names at the axis; the last is one of them."""
    step = -(-(last - first + 1) // _MOST_TICKS)
    return list(range(last, first - 1, -step))[::-1]


def _span_axis(axes: Axes, spans: Sequence[int], naming: Naming) -> None:
    ticks = spans_to_name(min(spans), max(spans))
    axes.set_xticks(ticks, [naming.format(span) for span in ticks])
    axes.tick_params(axis="x", labelrotation=30 if naming.dated else 0)
    axes.set_xlabel("span")
