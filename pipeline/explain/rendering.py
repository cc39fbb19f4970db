"""An explanation for a person, in a terminal."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from pipeline.explain.explainer import METHODS, Explanation
from pipeline.spans import Naming

_MOST = 12  # events that are shown; --json has them all


def headline(explanation: Explanation) -> str:
    """The score and its place, in a sentence."""
    return (
        f"{named(explanation.item, explanation.title)} scores {explanation.score:.4f} for user {explanation.user}: "
        f"place {explanation.place:,} of {explanation.among:,} items that version {explanation.version} can recommend."
    )


def carried(explanation: Explanation) -> str:
    """What carried the score, in a sentence."""
    if not explanation.events:
        return "The user has no event that the model looks at."
    if not explanation.named:
        return "No event of the history speaks for this item: each of them lowers its score, or leaves it as it is."
    *most, last = (named(event.item, event.title) for event in explanation.events[: explanation.named])
    listed = f"{', '.join(most)} and {last}" if most else last
    speak, them = ("speak", "them") if most else ("speaks", "it")
    sense = "falls" if explanation.fall >= 0 else "rises"
    return (
        f"Of the history {listed} {speak} for it most: without {them} the score {sense} by {abs(explanation.fall):.4f}."
    )


def lineage(explanation: Explanation, naming: Naming) -> str:
    """Where the model comes from, in a sentence or two."""
    spans = ", ".join(span_ranges(explanation.learned, naming))
    bases = f" It was trained from {', '.join(map(str, explanation.bases))}." if explanation.bases else ""
    count = f"{len(explanation.learned)} span{'s' * (len(explanation.learned) != 1)}"
    seen = "The item is in the catalogue and has no event so far: its features alone speak for it."
    if explanation.first_span >= 0:
        seen = (
            f"The item was first seen on {naming.format(explanation.first_span)} and trained on {explanation.count:,} "
            f"time{'s' * (explanation.count != 1)} so far."
        )
    return f"Version {explanation.version} has learned {count}: {spans}.{bases} {seen}"


def event_table(explanation: Explanation) -> Table:
    """The events that carried most, and what else the score is made of."""
    table = Table(show_edge=False)
    for column, justify in (("event", "left"), ("time (UTC)", "left"), ("share", "right"), ("without it", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for event in explanation.events[:_MOST]:
        share = "-" if event.share is None else signed(event.share)
        table.add_row(named(event.item, event.title), clock(event.time), share, signed(-event.fall))
    rest = explanation.events[_MOST:]
    if rest:
        total = "-" if rest[0].share is None else signed(sum(event.share or 0.0 for event in rest))
        table.add_row(f"{len(rest)} more", "", total, "")
    for name, value in explanation.rest.items():
        table.add_row(name, "", signed(value), "")
    if explanation.method != "left out":
        table.add_row("all together", "", signed(explanation.score), "")
    return table


def item_table(explanation: Explanation) -> Table:
    """What of the item speaks for it: its id and its features."""
    table = Table("of the item", "share", show_edge=False)
    table.columns[1].justify = "right"
    for name, value in explanation.of_item.items():
        table.add_row(name, signed(value))
    table.add_row("together, what vectors say", signed(sum(explanation.of_item.values())))
    return table


def as_lines(explanation: Explanation, naming: Naming) -> Iterator[str | Table]:
    """The explanation from top to bottom."""
    yield headline(explanation)
    yield carried(explanation)
    yield ""
    if explanation.events:
        yield event_table(explanation)
        yield ""
    yield METHODS[explanation.method]
    yield "“Without it” is what the score changes by when that event alone is taken out and the model is asked again."
    if explanation.note:
        yield explanation.note
    if explanation.of_item:
        yield ""
        yield item_table(explanation)
    if explanation.nearest:
        yield ""
        near = Table("nearest items", "cosine", show_edge=False)
        near.columns[1].justify = "right"
        for other in explanation.nearest:
            near.add_row(named(other.item, other.title), f"{other.cosine:.3f}")
        yield near
    yield ""
    yield lineage(explanation, naming)


def as_dict(explanation: Explanation, naming: Naming) -> dict[str, Any]:
    """For a machine: spans by their names, the method in words beside its name."""
    raw = dataclasses.asdict(explanation)
    raw["learned"] = [naming.format(span) for span in explanation.learned]
    raw["first_span"] = naming.format(explanation.first_span) if explanation.first_span >= 0 else None
    raw["method_in_words"] = METHODS[explanation.method]
    return raw


def named(item: str, title: str) -> str:
    """An item by its id, and its title where it has one."""
    return f"{item} ({title})" if title else item


def signed(value: float) -> str:
    """A number with its sign; nought has none to speak of."""
    return f"{round(value, 4) + 0.0:+.4f}"


def clock(milliseconds: int) -> str:
    """A time as far as it is one; a number of another kind as it is."""
    try:
        when = datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.timezone.utc)
    except (OverflowError, ValueError, OSError):
        return str(milliseconds)
    return when.strftime("%Y-%m-%d %H:%M")


def span_ranges(spans: Sequence[int], naming: Naming) -> list[str]:
    """Spans in words, those that follow each other as `first to last`."""
    ranges = []
    for _, group in itertools.groupby(enumerate(spans), lambda pair: pair[1] - pair[0]):
        run = [span for _, span in group]
        first, last = naming.format(run[0]), naming.format(run[-1])
        ranges.append(first if len(run) == 1 else f"{first} to {last}")
    return ranges
