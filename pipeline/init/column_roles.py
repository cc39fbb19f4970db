"""Which column is the key, the item, the timestamp and the weight."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.init.errors import InitError
from pipeline.init.sample import Column
from pipeline.init.timestamp_format import Reading, ways_to_read

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


@dataclass(frozen=True)
class Choice:
    """A column chosen for a part of an event, and the reason in words."""

    column: str
    why: str


def choose_columns(columns: Sequence[Column], given: Mapping[str, str | None]) -> dict[str, Choice]:
    """Chooses for `key`, `item`, `timestamp` and, where there is one, `weight`; `given` names are taken as they are.

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
    for part in NAMES:
        if part not in chosen:
            taken = {choice.column for choice in chosen.values()}
            fit = [column for column in columns if column.name not in taken and _fits(column, part)]
            if choice := _by_name(fit, part):
                chosen[part] = choice
    for part in ("timestamp", "key", "item"):
        taken = {choice.column for choice in chosen.values()}
        fit = [column for column in columns if column.name not in taken and _fits(column, part)]
        # With both the key and the item open, a column of ids could be either.
        if part not in chosen and len(fit) == 1 and (part == "timestamp" or {"key", "item"} & chosen.keys()):
            what = "times" if part == "timestamp" else "ids"
            chosen[part] = Choice(fit[0].name, f"the only column of {what} left")
    if open_parts := [part for part in ("key", "item", "timestamp") if part not in chosen]:
        columns_seen = ", ".join(f"{column.name!r} ({column.kind}, e.g. {_example(column)})" for column in columns)
        flags = " ".join(f"--{part} COLUMN" for part in open_parts)
        raise InitError(
            f"The column of the {' and the '.join(open_parts)} can't be told from names and values. Found: "
            f"{columns_seen}. Say it with: {flags}"
        )
    return chosen


def readings_of(column: Column) -> list[Reading]:
    """The ways in which all values of a column can be read as times, none when it holds no times."""
    return ways_to_read(column.values, column.kind) if column.kind != "other" and column.values else []


def _fits(column: Column, part: str) -> bool:
    if not column.values:
        return False
    if part == "timestamp":
        return bool(readings_of(column))
    if part == "weight":
        return column.kind in ("int", "float")
    if column.kind == "float":
        # A column of whole numbers with gaps is often written as 17850.0.
        return all(float(value).is_integer() for value in column.values) and not readings_of(column)
    return (
        column.kind in ("int", "text")
        and max(map(len, column.values)) <= LONGEST_ID
        and (column.distinct > 1 or len(column.values) == 1)
        and not readings_of(column)
    )


def _by_name(columns: Sequence[Column], part: str) -> Choice | None:
    plain = {column.name: re.sub(r"[^a-z0-9]", "", column.name.lower()) for column in columns}
    for ends in (False, True):
        for usual_name in NAMES[part]:
            # Two letters end many a word that has nothing to do with them.
            if ends and len(usual_name) < 4:
                continue
            matching = [
                name for name, text in plain.items() if (text.endswith(usual_name) if ends else text == usual_name)
            ]
            if matching:
                return Choice(matching[0], "by its name")
    return None


def _example(column: Column) -> str:
    return repr(column.values[0][:40]) if column.values else "all missing"
