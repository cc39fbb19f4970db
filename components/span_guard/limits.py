"""When a figure holds a day: limits from the recommender's own past days."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from components.json_parameter import JsonParameter

Scale = Literal["log", "logit", "plain"]
Side = Literal["low", "high", "both"]

DRIFT, FITS = "drift", "fits"  # of a column, whose name follows
IMPLAUSIBLE = "implausible_times"
PAST = "past_days"  # how many days a day was measured against: what its other figures are to be read by
# What sells changes within weeks: the items that a day must show are those of the last days.
CATALOGUE_DAYS = 7
# Shares below a hundredth, or within one of the whole, are not told apart: nothing that small is worth a day.
_SMALL_SHARE, _SMALL = 1e-2, 1e-3
# From here on times are no times, whatever the past was like.
_IMPLAUSIBLE_SHARE = 0.1


@dataclasses.dataclass(frozen=True)
class Limit:
    """How far a figure may be from its usual value before its day is held.

    A day is held that is further off than `deviations` robust standard deviations of the past days and than `least`;
    and in any case one that is further off than `most`, however much the past days differ among each other.

    Attributes:
      words: what the figure is, for sentences.
      scale: on which distances are taken: of amounts `log`, of shares `logit`.
      side: which distances count.
      least, most: on that scale.
      deviations: see above.
      by_weekday: whether each weekday has a level of its own.
      grows: up to how many past days it grows with their number, like the share of what is known; 1 if it does not.
      shown: how a value is written.
    """

    words: str
    scale: Scale
    side: Side
    least: float
    most: float
    deviations: float = 5.0
    by_weekday: bool = False
    grows: float = 1
    shown: str = "{:.1%}"


# The figures, and why these limits: `least` is beyond what the clean early days of three real data sets showed, `most`
# is what no trade explains (benchmarks/guard_trials.py says on which days they were chosen).
LIMITS: Mapping[str, Limit] = {
    # A holiday has a quarter of the events of a usual day; a tenth, or ten times as many, is a broken export.
    "events": Limit("events", "log", "both", math.log(4), math.log(9), by_weekday=True, shown="{:,.0f}"),
    # A sample of rows, or a join that fans out, changes it, whatever the volume does.
    "events_per_key": Limit("events a key", "log", "both", math.log(1.6), math.log(3), by_weekday=True, shown="{:.2f}"),
    # Shares of rows that were no events: some trades have a third of them, so the past says what is much.
    "rejects": Limit("rejected rows", "logit", "high", 1.5, 5.0),
    "duplicates": Limit("repeated rows", "logit", "high", 1.5, 5.0),
    # A wholesaler's order is a quarter of a day: many times the usual share is asked for.
    "largest_key": Limit("events of one key", "logit", "high", 1.5, 5.0),
    "largest_item": Limit("events of one item", "logit", "high", 1.5, 4.0),
    # People are busy in a few of a day's 144 slots of ten minutes, a bot in all.
    "busiest_key": Limit(
        "ten-minute slots with events of one key", "log", "high", math.log(4), math.log(16), shown="{:.0f}"
    ),
    # Shops open late and close early by hours: these are for spans without hours of their own (weeks).
    "first_hour": Limit("the first event's hour", "plain", "both", 4.5, 12.0, by_weekday=True, shown="{:.1f} h"),
    "last_hour": Limit("the last event's hour", "plain", "both", 4.5, 12.0, by_weekday=True, shown="{:.1f} h"),
    "missing_hours": Limit("usual hours without an event", "plain", "high", 0.35, 0.6, by_weekday=True),
    # In nats an event: a shift by five hours gains 2, noise below 0.4.
    "shifted_hours": Limit(
        "gain when the hours are shifted", "plain", "high", 0.5, 1.5, by_weekday=True, shown="{:.2f}"
    ),
    "known_items": Limit("events of known items", "logit", "low", 1.0, 5.0, grows=math.inf),
    "known_keys": Limit("events of known keys", "logit", "low", 1.5, 6.0, grows=math.inf),
    # The one figure that a catalogue by halves moves: nearer limits than the others have.
    "catalogue": Limit(
        "usual catalogue shown", "log", "low", math.log(1.25), math.log(1.43), deviations=4.0, grows=CATALOGUE_DAYS
    ),
    # A file that comes twice has nearly all pairs of key and item again; subscriptions come back by parts.
    "repeats": Limit("pairs of key and item of past days", "logit", "high", 2.0, 5.0, grows=math.inf),
    "echo": Limit("pairs of key and item of one past day", "logit", "high", 2.0, 5.0),
    "popularity": Limit("popularity of the items", "plain", "low", 0.6, 1.0, grows=math.inf, shown="{:.2f}"),
    # Ids have a scheme, which does not change by degrees.
    "shapes_of_items": Limit("item ids of a usual shape", "plain", "low", 0.02, 0.02),
    "shapes_of_keys": Limit("key ids of a usual shape", "plain", "low", 0.02, 0.02),
    # Both never below what chance alone gives: where order carries nothing, no day is held for having none.
    "order": Limit("order of a key's items", "log", "low", math.log(2), math.log(8), grows=math.inf, shown="{:.3f}"),
    "company": Limit(
        "what items of a key have in common", "log", "low", math.log(2), math.log(8), grows=math.inf, shown="{:.3f}"
    ),
    # Never below its own noise either. A shift by a row leaves a tenth of it, of which a small day shows a quarter.
    "belongs": Limit(
        "fit of items and rows", "log", "low", math.log(2), math.log(4), deviations=3.5, grows=math.inf, shown="{:.3f}"
    ),
    DRIFT: Limit("Jensen-Shannon divergence of {}", "plain", "high", 0.15, 0.5, shown="{:.3f}"),
    # A column that slipped by a row no longer belongs to the row's item.
    FITS: Limit("values of {} that their items had before", "logit", "low", 1.5, 4.0, grows=math.inf),
}


@dataclasses.dataclass(frozen=True)
class Rules(JsonParameter):
    """When days are held.

    Attributes:
      hold: False measures and says, but lets every day in.
      at_least: past days without which only what is certain holds a day.
      spans: how many of the last days that were let in count.
      sensitivity: all distances are divided by it.
      ignore: figures that hold nothing.
    """

    hold: bool
    at_least: int
    spans: int
    sensitivity: float
    ignore: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Judgement:
    """One figure beside its past.

    Attributes:
      figure, value: which, and today's.
      days: how many past days it was compared with.
      usual: what nine of ten past days showed, or would have beside as many days as today.
      low, high: the limits; None where that side has none.
      excess: by how many times the allowed distance it is off; above 1 holds the day.
    """

    figure: str
    value: float
    days: int
    usual: tuple[float, float]
    low: float | None
    high: float | None
    excess: float

    @property
    def sentence(self) -> str:
        limit = limit_of(self.figure)
        words = limit.words.format(self.figure.partition(" ")[2])
        shown = limit.shown.format
        sides = (("below", self.low), ("above", self.high))
        bounds = [f"{side} {shown(bound)}" for side, bound in sides if bound is not None]
        usual = " to ".join(dict.fromkeys(shown(value) for value in self.usual))
        return f"{words} {shown(self.value)}: usual {usual} ({self.days} days), held {' or '.join(bounds)}"


def limit_of(figure: str) -> Limit:
    """The limit of a figure; of a column's figures that of their kind."""
    return LIMITS[figure.partition(" ")[0]]


def judge(
    figures: Mapping[str, float], past: Sequence[tuple[int, Mapping[str, float]]], span: int, rules: Rules
) -> list[Judgement]:
    """Holds a day's figures against those of the days before, worst first. Depends on its arguments alone.

    Args:
      figures: of the day.
      past: span and figures of the last days that were let in.
      span: the day's own number: spans that are a multiple of 7 apart are of one weekday.
      rules: see `Rules`. A figure that more than one of `at_least` past days lack is passed over: the first day of a
        root lacks all that compares.
    """
    judged: list[Judgement] = []
    if len(past) < rules.at_least:
        return judged
    for figure, value in figures.items():
        kind = figure.partition(" ")[0]
        if kind in (IMPLAUSIBLE, PAST) or {kind, figure} & {*rules.ignore}:
            continue
        # Profiles of before do not say beside how many days they are: as many as today.
        known = [(day, values[figure], values.get(PAST, len(past))) for day, values in past if figure in values]
        if len(known) >= rules.at_least - 1:
            days, values, lengths = (np.array(column) for column in zip(*known, strict=True))
            most = limit_of(figure).grows
            further = math.log(min(len(past), most)) - np.log(np.clip(lengths, 1, most))
            judged.append(_judge(figure, value, days, values, further, span, rules.sensitivity))
    return sorted(judged, key=lambda judgement: -judgement.excess)


def reasons(figures: Mapping[str, float], judgements: Sequence[Judgement]) -> list[str]:
    """Why the day is held, the worst reason first; empty where it is not. Without an event there is nothing to hold."""
    if figures.get("events") == 0:
        return []
    sentences = [judgement.sentence for judgement in judgements if judgement.excess > 1]
    if (share := figures.get(IMPLAUSIBLE, 0.0)) > _IMPLAUSIBLE_SHARE:
        of_times = f"times before 1980 or after 2100 {share:.1%}: held above {_IMPLAUSIBLE_SHARE:.1%} in any case"
        sentences.insert(0, of_times)
    return sentences


def _judge(
    figure: str,
    value: float,
    days: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    further: npt.NDArray[np.float64],
    span: int,
    sensitivity: float,
) -> Judgement:
    limit = limit_of(figure)
    there, back = _SCALES[limit.scale]
    scaled = there(values)
    # What past days would have shown beside as many days as today: growth would count as spread, and hide what is sick.
    scaled = scaled + _growth(-further, scaled) * further
    center = float(np.median(scaled))
    rest = scaled - center
    if limit.by_weekday:
        level = {day: _level(rest[days % 7 == day]) for day in np.unique(days % 7)}
        rest = rest - np.array([level[day] for day in days % 7])
        center += level.get(span % 7, 0.0)
    # The median of the distances and nine tenths of them, both as a normal distribution's standard deviation: the
    # second sees a past of two kinds of days, and neither an outlier in ten.
    nine_tenths = float(np.quantile(np.abs(rest), 0.9))
    spread = max(1.4826 * float(np.median(np.abs(rest))), nine_tenths / 1.645)
    # A few days show less than there is.
    spread *= 1 + 4 / len(values)
    allowed = min(max(limit.deviations * spread, limit.least), limit.most) / sensitivity
    away = float(there(np.array([value]))[0]) - center
    distance = {"low": -away, "high": away, "both": abs(away)}[limit.side]

    def at(offset: float) -> float:
        return float(back(np.array([center + offset]))[0])

    return Judgement(
        figure=figure,
        value=value,
        days=len(days),
        usual=(at(-nine_tenths), at(nine_tenths)),
        low=at(-allowed) if limit.side != "high" else None,
        high=at(allowed) if limit.side != "low" else None,
        excess=distance / allowed,
    )


def _growth(at: npt.NDArray[np.float64], scaled: npt.NDArray[np.float64]) -> float:
    """How steeply `scaled` [n] grows with `at` [n]: Theil and Sen's median of the slopes between any two days.

    Never below 0: a past that is longer knows no less, and what falls in a few days is chance.
    """
    first, second = np.triu_indices(len(at), 1)
    apart = at[second] - at[first]
    slopes = (scaled[second] - scaled[first])[apart != 0] / apart[apart != 0]
    return max(float(np.median(slopes)), 0.0) if len(slopes) else 0.0


def _level(rest: npt.NDArray[np.float64]) -> float:
    """A weekday's own level: of two days the lesser, so that one odd day does not move it."""
    if len(rest) < 2:
        return 0.0
    return float(np.median(rest)) if len(rest) > 2 else float(rest[np.argmin(np.abs(rest))])


def _logit(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    clipped = np.clip(values, _SMALL_SHARE, 1 - _SMALL_SHARE)
    return np.log(clipped / (1 - clipped))


_Function = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
_SCALES: dict[Scale, tuple[_Function, _Function]] = {
    "log": (lambda values: np.log(np.maximum(values, _SMALL)), np.exp),
    "logit": (_logit, lambda values: 1 / (1 + np.exp(-values))),
    "plain": (lambda values: values, lambda values: values),
}
