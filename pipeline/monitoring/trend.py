"""Is what is served good, and is it getting better or worse: decided by intervals, and the days told from the model.

A fall of the champion's quality has two causes that look alike: the model, or days that are harder to foretell. What
the most popular items reach on the same events, which no training changes, tells them apart.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from pipeline.ledger.runs import Run
from pipeline.metrics import lower_is_better, title

# Looked at: two weeks, so that weekdays stand on both sides alike; where these show nothing four, for a slow slide.
SPANS, LONG = 14, 28
FEWEST = 7  # that can tell
RECENT = 7  # of which the level is
_SHARE = 0.99  # of steady spans on which no trend is seen: it is asked every night
_TWO_SIDED_95 = 1.959964
_LEAST = 1e-3  # what a share counts for at least, before its logarithm is taken

Direction = Literal["better", "worse", "steady", "unknown"]
Cause = Literal["model", "days", "open", ""]


@dataclasses.dataclass(frozen=True)
class Slope:
    """A change per unit of span number with its bounds, and the fitted values at both ends."""

    value: float
    lower: float
    upper: float
    begin: float
    end: float

    @property
    def sign(self) -> int:
        """-1 or 1 where chance alone would not have made it, else 0."""
        return 1 if self.lower > 0 else -1 if self.upper < 0 else 0


@dataclasses.dataclass(frozen=True)
class Trend:
    """Where quality is going.

    Attributes:
      direction: `unknown` where too few spans were measured.
      cause: of a change: the model, the days, or `open` where neither can be told.
      sentence: the same with its numbers.
    """

    direction: Direction
    cause: Cause
    sentence: str


@dataclasses.dataclass(frozen=True)
class Level:
    """Whether what is served is better than what needs no model: None where that can't be told."""

    good: bool | None
    sentence: str


def slope(spans: Sequence[int], values: Sequence[float], weights: Sequence[float]) -> Slope | None:
    """The weighted least-squares line through `values`, with bounds that hold with `_SHARE`; None where none can be.

    Student's t. Where a span resembles the one before, beyond the line, fewer of them count: their effective number by
    the autocorrelation of the residuals (Santer et al., "Statistical significance of trends and trend differences in
    layer-average atmospheric temperature time series", J. Geophys. Res. 105, 2000).
    """
    x, y, w = (np.asarray(of, np.float64) for of in (spans, values, weights))
    x = x - np.average(x, weights=w)
    spread = float(np.sum(w * x * x))
    if len(x) < 3 or not spread > 0:
        return None
    middle = float(np.average(y, weights=w))
    value = float(np.sum(w * x * (y - middle))) / spread
    rest = y - middle - value * x
    total = float(np.sum(rest * rest))
    alike = max(0.0, float(np.sum(rest[1:] * rest[:-1])) / total) if total > 0 else 0.0
    freedom = len(x) * (1 - alike) / (1 + alike) - 2
    if freedom < 1:
        return None
    half = float(stdtrit(freedom, (1 + _SHARE) / 2)) * math.sqrt(float(np.sum(w * rest * rest)) / freedom / spread)
    return Slope(value, value - half, value + half, middle + value * float(x[0]), middle + value * float(x[-1]))


def read_trend(runs: Sequence[Run], metric: str, k: int, unit: str = "day") -> Trend:
    """What the champion's next-span `metric` did over the last `SPANS` measured of `runs`, oldest first.

    Where they show no change it is asked of the last `LONG`: a slow slide takes longer to be seen. `unit`: what a
    span's number counts.
    """
    every = [run for run in runs if metric in run.next_span]
    trend = _trend(every[-SPANS:], metric, title(metric, k), unit)
    if trend.direction != "steady" or len(every) <= SPANS:
        return trend
    longer = _trend(every[-LONG:], metric, title(metric, k), unit)
    return trend if longer.direction == "unknown" else longer


def _trend(measured: Sequence[Run], metric: str, name: str, unit: str) -> Trend:
    if len(measured) < FEWEST:
        often = f"{len(measured)} span{'s' * (len(measured) != 1)}"
        known = f"{name or 'quality'} is known of {often}"
        return Trend("unknown", "", f"No telling yet: {known}, {FEWEST} are needed.")
    beside = [run for run in measured if metric in run.surroundings.popularity]
    own = _slope(measured, [run.next_span[metric] for run in measured])
    popular = relative = None
    if len(beside) >= FEWEST:
        popularity = [run.surroundings.popularity[metric][0] for run in beside]
        popular = _slope(beside, popularity)
        ratios = [_log(run.next_span[metric]) - _log(of) for run, of in zip(beside, popularity, strict=True)]
        relative = _slope(beside, ratios)
    if own is None:
        return Trend("unknown", "", f"No telling: {name} swings too slowly for {len(measured)} spans to show a trend.")
    sign = own.sign * (-1 if lower_is_better(metric) else 1)
    over = f"over {len(measured)} spans, {measured[0].name} to {measured[-1].name},"
    moved = f"{over} {name} went from {own.begin:.3f} to {own.end:.3f}"
    return _conclude(sign, moved, popular, relative, unit)


def _conclude(sign: int, moved: str, popular: Slope | None, relative: Slope | None, unit: str) -> Trend:
    """`sign`: whether quality falls or rises beyond chance; `moved`: that in words."""
    if popular is None or relative is None:
        if not sign:
            return Trend("steady", "", f"No change that is more than chance: {moved}.")
        reason = "What the most popular items reach is not known of enough of them: the model or the days, no telling."
        return Trend(_word(sign), "open", f"Getting {_word(sign)}: {moved}. {reason}")
    moved += (
        f", the most popular items from {popular.begin:.3f} to {popular.end:.3f}; relative to them "
        f"{_percent(relative, unit)}."
    )
    if sign < 0 and relative.sign >= 0 and (popular.sign < 0 or relative.sign > 0):
        reason = "The days became harder to foretell; nothing shows a fault of the model."
        return Trend("worse", "days", f"Falling with the days: {moved} {reason}")
    if relative.sign:
        head = f"Getting {_word(relative.sign)}" if sign != -relative.sign else "Falling behind"
        return Trend(_word(relative.sign), "model", f"{head}: {moved} The model is the cause, not the days.")
    if sign > 0 and popular.sign > 0:
        return Trend("better", "days", f"Rising with the days: {moved} They became easier to foretell.")
    if sign:
        return Trend(_word(sign), "open", f"Getting {_word(sign)}: {moved} The model or the days: no telling yet.")
    return Trend("steady", "", f"No change that is more than chance: {moved}")


def _word(sign: int) -> Direction:
    return "better" if sign > 0 else "worse"


def read_level(runs: Sequence[Run], metric: str, k: int) -> Level:
    """Whether the champions of the last `RECENT` measured of `runs` were better than the most popular items.

    The mean gain over the spans by their events; its variance is the sum of theirs, which come from the bounds by key.
    """
    measured = [run for run in runs if metric in run.next_span][-RECENT:]
    if not measured:
        return Level(None, "Not known yet: quality is measured from the second span on, before it is learned.")
    name = title(metric, k)
    level = np.average([run.next_span[metric] for run in measured], weights=_weights(measured))
    over = f"over the last {len(measured)} spans" if len(measured) > 1 else f"on {measured[0].name}"
    beside = [run for run in measured if metric in run.surroundings.gain]
    if not beside:
        unknown = "what the most popular items reach was not measured"
        return Level(None, f"{name} is {level:.3f} {over}; {unknown}, so whether that is good can't be said.")
    weights = np.array(_weights(beside)) / sum(_weights(beside))
    gains = np.array([run.surroundings.gain[metric] for run in beside])
    errors = (gains[:, 2] - gains[:, 1]) / 2 / _TWO_SIDED_95
    gain, half = float(weights @ gains[:, 0]), _TWO_SIDED_95 * float(np.sqrt(weights**2 @ errors**2))
    popularity = float(weights @ [run.surroundings.popularity[metric][0] for run in beside])
    value = float(weights @ [run.next_span[metric] for run in beside])
    on = f"{name} is {value:.3f} {over}"
    if gain - half > 0:
        times = f"{value / popularity:.1f} times the {popularity:.3f}" if popularity > 0 else f"beyond the {0:.3f}"
        return Level(True, f"Yes: {on}, {times} that the most popular items reach.")
    if gain + half < 0:
        return Level(False, f"No: {on}, less than the {popularity:.3f} that the most popular items reach.")
    return Level(None, f"Not for certain: {on}, the most popular items reach {popularity:.3f}; that may be chance.")


def _slope(runs: Sequence[Run], values: Sequence[float]) -> Slope | None:
    return slope([run.span for run in runs], values, _weights(runs))


def _weights(runs: Sequence[Run]) -> list[float]:
    """The fewer events, the less a span says."""
    return [float(max(run.events or 1, 1)) for run in runs]


def _log(share: float) -> float:
    return math.log(max(share, _LEAST))


def _percent(relative: Slope, unit: str) -> str:
    value, lower, upper = (math.expm1(of) for of in (relative.value, relative.lower, relative.upper))
    return f"{value:+.1%} a {unit} ({_SHARE:.0%} interval {lower:+.1%} to {upper:+.1%})"
