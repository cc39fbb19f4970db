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


def headline(found: Explanation) -> str:
    """The score and its place, in a sentence."""
    return (
        f"{named(found.item, found.title)} scores {found.score:.4f} for user {found.user}: place {found.place:,} of "
        f"{found.among:,} items that version {found.version} can recommend."
    )


def carried(found: Explanation) -> str:
    """What carried the score, in a sentence."""
    if not found.events:
        return "The user has no event that the model looks at."
    if not found.named:
        return "No event of the history speaks for this item: each of them lowers its score, or leaves it as it is."
    *most, last = (named(event.item, event.title) for event in found.events[: found.named])
    listed = f"{', '.join(most)} and {last}" if most else last
    speak, them = ("speak", "them") if most else ("speaks", "it")
    sense = "falls" if found.fall >= 0 else "rises"
    return f"Of the history {listed} {speak} for it most: without {them} the score {sense} by {abs(found.fall):.4f}."


def lineage(found: Explanation, naming: Naming) -> str:
    """Where the model comes from, in a sentence or two."""
    spans = ", ".join(span_ranges(found.learned, naming))
    bases = f" It was trained from {', '.join(map(str, found.bases))}." if found.bases else ""
    count = f"{len(found.learned)} span{'s' * (len(found.learned) != 1)}"
    return (
        f"Version {found.version} has learned {count}: {spans}.{bases} "
        f"The item was first seen on {naming.format(found.first_span)} and trained on {found.count:,} "
        f"time{'s' * (found.count != 1)} so far."
    )


def event_table(found: Explanation) -> Table:
    """The events that carried most, and what else the score is made of."""
    table = Table(show_edge=False)
    for column, justify in (("event", "left"), ("time (UTC)", "left"), ("share", "right"), ("without it", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for event in found.events[:_MOST]:
        share = "-" if event.share is None else signed(event.share)
        table.add_row(named(event.item, event.title), clock(event.time), share, signed(-event.fall))
    rest = found.events[_MOST:]
    if rest:
        total = "-" if rest[0].share is None else signed(sum(one.share or 0.0 for one in rest))
        table.add_row(f"{len(rest)} more", "", total, "")
    for name, value in found.rest.items():
        table.add_row(name, "", signed(value), "")
    if found.method != "left out":
        table.add_row("all together", "", signed(found.score), "")
    return table


def as_lines(found: Explanation, naming: Naming) -> Iterator[str | Table]:
    """The explanation from top to bottom."""
    yield headline(found)
    yield carried(found)
    yield ""
    if found.events:
        yield event_table(found)
        yield ""
    yield METHODS[found.method]
    yield "“Without it” is what the score changes by when that event alone is taken out and the model is asked again."
    if found.note:
        yield found.note
    if found.nearest:
        yield ""
        near = Table("nearest items", "cosine", show_edge=False)
        near.columns[1].justify = "right"
        for other in found.nearest:
            near.add_row(named(other.item, other.title), f"{other.cosine:.3f}")
        yield near
    yield ""
    yield lineage(found, naming)


def as_dict(found: Explanation, naming: Naming) -> dict[str, Any]:
    """For a machine: spans by their names, the method in words beside its name."""
    raw = dataclasses.asdict(found)
    raw["learned"] = [naming.format(span) for span in found.learned]
    raw["first_span"] = naming.format(found.first_span)
    raw["method_in_words"] = METHODS[found.method]
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
    found = []
    for _, group in itertools.groupby(enumerate(spans), lambda pair: pair[1] - pair[0]):
        run = [span for _, span in group]
        first, last = naming.format(run[0]), naming.format(run[-1])
        found.append(first if len(run) == 1 else f"{first} to {last}")
    return found
