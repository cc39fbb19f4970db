"""Which column is the key, the item and the timestamp, and which could be the weight."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.init.errors import InitError
from pipeline.init.guess import percent
from pipeline.init.sample import Column, most, number_in
from pipeline.init.timestamp_format import Reading

# The best name first; a column is compared in lower case without separators, as a whole before by its end.
NAMES = {
    "key": (
        "userid", "user", "customerid", "customer", "memberid", "accountid", "visitorid", "visitor", "clientid", "uid",
        "personid", "profileid", "reviewerid", "sessionid", "session", "key",
    ),
    "item": (
        "itemid", "item", "productid", "product", "sku", "stockcode", "articleid", "asin", "movieid", "trackid",
        "songid", "videoid", "bookid", "businessid", "contentid", "documentid", "newsid", "gameid", "isbn", "article",
    ),
    "timestamp": (
        "timestamp", "eventtime", "datetime", "time", "ts", "createdat", "eventdate", "orderdate", "invoicedate",
        "date",
    ),
    "weight": ("weight", "rating", "quantity", "qty", "stars", "score", "count", "plays"),
}  # fmt: skip
LONGEST_ID = 100
_WHOLE = re.compile(r"-?\d+\.0+")


@dataclass(frozen=True)
class Choice:
    """A column chosen for a part of an event, and the reason in words."""

    column: str
    why: str


def choose_columns(
    columns: Sequence[Column], given: Mapping[str, str | None], readings: Mapping[str, Sequence[Reading]]
) -> dict[str, Choice]:
    """Chooses for `key`, `item` and `timestamp`; `given` names are taken as they are, for `weight` too.

    Args:
      columns: of the sample.
      given: part to the name that the user gave.
      readings: column to the ways in which it can be read as times.

    Raises:
      InitError: a given name is no column, or a part can't be told; the message names the columns and the flags.
    """
    by_name = {column.name: column for column in columns}
    chosen: dict[str, Choice] = {}
    for part, name in given.items():
        if name is not None:
            if name not in by_name:
                folded = {other.casefold(): other for other in by_name}
                near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.0)
                raise InitError(
                    f"`--{part}` must name a column. Received: {name!r}. Did you mean {folded[near[0]]!r}? "
                    f"Found: {', '.join(map(repr, by_name))}."
                )
            chosen[part] = Choice(name, "you said so")

    def fitting(part: str, without: set[str]) -> list[Column]:
        return [column for column in columns if column.name not in without and _fits(column, part, readings)]

    taken = {choice.column for choice in chosen.values()}
    for part in ("key", "item", "timestamp"):
        names = _by_name(fitting(part, taken), part)
        if part not in chosen and names:
            # Two columns of times are two times of an event, whatever their names.
            others = [column.name for column in fitting(part, {*taken, *names})] if part == "timestamp" else []
            chosen[part] = Choice(names[0], "by its name" + _also(part, [*names[1:], *others]))
            taken.add(names[0])
    weights = set(weight_candidates(columns, taken, readings))
    for part in ("timestamp", "key", "item"):
        fit = fitting(part, taken | weights)
        # With both the key and the item open, a column of ids could be either.
        if part not in chosen and len(fit) == 1 and (part == "timestamp" or {"key", "item"} & chosen.keys()):
            what = "times" if part == "timestamp" else "ids"
            chosen[part] = Choice(fit[0].name, f"the only column of {what} left")
            taken.add(fit[0].name)
    if open_parts := [part for part in ("key", "item", "timestamp") if part not in chosen]:
        columns_seen = ", ".join(f"{column.name!r} ({_described(column, readings)})" for column in columns)
        flags = " ".join(f"--{part} COLUMN" for part in open_parts)
        raise InitError(
            f"The column of the {' and the '.join(open_parts)} can't be told from names and values. Found: "
            f"{columns_seen}. Say it with: {flags}"
        )
    return chosen


def weight_candidates(
    columns: Sequence[Column], taken: set[str], readings: Mapping[str, Sequence[Reading]]
) -> list[str]:
    """The columns of numbers whose name says that they could be an event's weight, the best first."""
    fit = [column for column in columns if column.name not in taken and _fits(column, "weight", readings)]
    return _by_name(fit, "weight")


def whole_floats(column: Column) -> str | None:
    """An id such as 17850.0, which stands for 17850, if there are any."""
    return next((text for text in column.values if _WHOLE.fullmatch(text)), None)


def plain(name: str) -> str:
    """A column's name in small letters, without what stands between its words."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _fits(column: Column, part: str, readings: Mapping[str, Sequence[Reading]]) -> bool:
    if not column.values:
        return False
    if part == "timestamp":
        return any(reading.clear for reading in readings[column.name])
    if part == "weight":
        return column.kind in ("int", "float")
    if any(reading.clear for reading in readings[column.name]):
        return False
    if column.kind == "float":
        # A column of whole numbers with gaps is often written as 17850.0.
        return most((number := number_in(text)) is not None and number.is_integer() for text in column.values)
    return (
        column.kind in ("int", "text")
        and most(len(text) <= LONGEST_ID for text in column.values)
        and (len(set(column.values)) > 1 or len(column.values) == 1)
    )


def _by_name(columns: Sequence[Column], part: str) -> list[str]:
    names = []
    for ends in (False, True):
        for usual_name in NAMES[part]:
            # Two letters end many a word that has nothing to do with them.
            if ends and len(usual_name) < 4:
                continue
            for column in columns:
                text = plain(column.name)
                if text.endswith(usual_name) if ends else text == usual_name:
                    names.append(column.name)
    return list(dict.fromkeys(names))


def _also(part: str, others: Sequence[str]) -> str:
    if not others:
        return ""
    return f"; {' or '.join(others)} would also fit: --{part} {others[0]}"


def _described(column: Column, readings: Mapping[str, Sequence[Reading]]) -> str:
    if not column.values:
        return f"{column.kind}, all missing"
    times = [f", {percent(reading.share)} {reading.words}" for reading in readings[column.name][:1]]
    return f"{column.kind}, e.g. {column.values[0][:40]!r}{''.join(times)}"
