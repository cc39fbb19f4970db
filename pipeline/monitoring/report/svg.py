"""How the report's pictures look and how they are written: SVG of a given size, told apart without colour."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.ledger.runs import Run
from pipeline.spans import Naming

# Okabe and Ito's colours (2008), which people with any kind of colour vision can tell apart.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
# Small, so that a phone shows a plot at about its own size.
WIDTH, HEIGHT = 4.6, 2.7
_MOST_TICKS = 6
_LEGEND_ROW = 0.19  # inches
# A slice, line or span on fewer events says little: it is drawn faintly.
FAINT = 0.35
_RING = 9  # the largest marker that a row of a legend has room for
# Where the reader's screen is dark: what is drawn in the one is shown in the other.
_IN_THE_DARK = {
    "#000000": "#e6e6e6", "#ffffff": "#16181c", "#dddddd": "#3a3d44", "#555555": "#b0b4bc",
    BLUE.lower(): "#56b4e9", ORANGE.lower(): "#f08c4a", GREEN.lower(): "#2fc79a", PURPLE.lower(): "#e6a8cb",
}  # fmt: skip
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
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def _style() -> str:
    rules = "".join(
        f'[style*="{what}: {light}"]{{{what}:{dark} !important}}'
        for light, dark in _IN_THE_DARK.items()
        for what in ("fill", "stroke")
    )
    return f"<style>@media screen and (prefers-color-scheme: dark){{text{{fill:#e6e6e6}}{rules}}}</style>"


@dataclasses.dataclass(frozen=True)
class Plot:
    """A picture as a `data:` address, with what it shows in words for those who do not see it."""

    title: str
    source: str
    words: str


@contextlib.contextmanager
def drawing(height: float = HEIGHT, width: float = WIDTH, left: float = 0.62) -> Iterator[tuple[Figure, Axes]]:
    """A figure of inches with one pair of axes, whose labels have `left` inches beside them.

    The margins are given and not found: matplotlib's search for them draws every plot several times over, and the
    report is written every night.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure((width, height))
        yield figure, figure.add_axes((left / width, 0.5 / height, 1 - (left + 0.12) / width, 1 - 0.6 / height))


def legend(figure: Figure, axes: Axes, columns: int = 2) -> None:
    """A legend above the axes, which make room for it."""
    handles, labels = axes.get_legend_handles_labels()
    shown = figure.legend(
        handles, labels, loc="upper left", bbox_to_anchor=(0, 1), ncols=columns, fontsize=8, borderaxespad=0.1
    )
    for handle in shown.legend_handles:
        if isinstance(handle, Line2D) and handle.get_markersize() > _RING:
            handle.set_markersize(_RING)  # or the row cuts it off
    height, box = figure.get_size_inches()[1], axes.get_position()
    rows = -(-len(labels) // columns)
    axes.set_position((box.x0, box.y0, box.width, 1 - box.y0 - (rows * _LEGEND_ROW + 0.12) / height))


def span_axis(axes: Axes, runs: Sequence[Run], naming: Naming) -> None:
    """A tick a few spans, counted back from the last."""
    spans = [run.span for run in runs]
    step = -(-(spans[-1] - spans[0] + 1) // _MOST_TICKS)
    ticks = range(spans[-1], spans[0] - 1, -step)
    axes.set_xticks(ticks, [naming.format(span)[5:] if naming.dated else str(span) for span in ticks])
    axes.set_xlim(spans[0] - 0.6, spans[-1] + 0.6)
    axes.set_xlabel("month-day" if naming.dated else "span")


def finish(figure: Figure, title: str, words: str) -> Plot:
    """The picture, drawn once."""
    buffer = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata=_NOTHING)
    drawn = buffer.getvalue().decode().replace("</svg>", f"{_style()}</svg>")
    return Plot(title, "data:image/svg+xml;base64," + base64.b64encode(drawn.encode()).decode(), words)


def series_words(runs: Sequence[Run], series: Mapping[str, Sequence[float | None]]) -> str:
    """The last value of each line, for whoever can't see the plot; the table has the others."""
    latest = [(label, values[-1]) for label, values in series.items() if values[-1] is not None]
    numbers = ", ".join(
        f"{label} {value:,.4g}" if isinstance(value, float) else f"{label} {value:,}" for label, value in latest
    )
    return f"{len(runs)} spans to {runs[-1].name}, where: {numbers or 'no number yet'}"
