"""What of a span is far from the days before it: the gate compares two models on that day and can't tell a sick day."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from scipy.special import stdtrit

from pipeline.ledger.runs import Run
from pipeline.metrics import watched

_SHARE = 0.99  # of days that are like those before
_FEWEST, _MOST = 4, 30  # days before that can tell, and that are looked at


def unusual(run: Run, before: Sequence[Run]) -> list[str]:
    """A sentence for each figure of `run` that is far from those of the runs `before`, oldest first.

    Far is what lies outside of the prediction interval of a normal distribution with unknown mean and variance: few
    days before say little, and it is wide.
    """
    metric = watched(run.next_span)
    figures: dict[str, tuple[float | None, list[float | None]]] = {
        f"Next-span {metric}": (run.next_span.get(metric), [earlier.next_span.get(metric) for earlier in before]),
        "The number of events": (run.events, [earlier.events for earlier in before]),
    }
    return [said for what, (value, past) in figures.items() if (said := _sentence(what, value, past[-_MOST:]))]


def _sentence(what: str, value: float | None, before: Sequence[float | None]) -> str:
    past = [float(figure) for figure in before if figure is not None]
    if value is None or len(past) < _FEWEST:
        return ""
    mean, spread, days = statistics.fmean(past), statistics.stdev(past), len(past)
    half = stdtrit(days - 1, (1 + _SHARE) / 2) * spread * math.sqrt(1 + 1 / days)
    # Figures that never varied, up to rounding, say nothing of how far they may.
    if spread <= 1e-9 * abs(mean) or abs(value - mean) <= half:
        return ""
    places = ",.0f" if isinstance(value, int) else ".4f"
    low, high = max(0.0, mean - half), mean + half
    return (
        f"{what} is {value:{places}}, outside of {low:{places}} to {high:{places}}, where {_SHARE:.0%} of days like "
        f"the {days} before it would be."
    )
