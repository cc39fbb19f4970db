"""What beside the events looks like a catalogue, and which of its columns a model could learn from."""

from __future__ import annotations

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from components.data_files import is_data_name
from pipeline.init.errors import InitError
from pipeline.init.guess import Guess
from pipeline.init.sample import MOST, Column, most, number_in, read_sample
from pipeline.init.span_layout import Layout, find_layout, format_of
from pipeline.init.template import scalar

_SEPARATORS = ("|", ";", ",", "/")
_YEAR = r"\(((?:18|19|20)\d\d)\)"
_DATE = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d.*)?")
_FOLDERS_SEEN = 20
# A word that hardly any two items share tells nothing of one from the other.
_ITEMS_A_WORD = 3.0
_FEW = 20  # different whole numbers: codes rather than amounts
_EXAMPLES = 3


@dataclasses.dataclass(frozen=True)
class Proposal:
    """A feature that a column could be, as it would stand in the settings, and what is in it."""

    declared: dict[str, Any]
    seen: str

    def __str__(self) -> str:
        return f"- {scalar(self.declared)}  # {self.seen}"


def propose_catalogue(layout: Layout, item: str, key: str, out: Path) -> list[Guess]:
    """What the sections `catalogue`, `encoders` and `features.item` could be, as comments: that is not for us to say.

    Args:
      layout: of the events.
      item, key: their columns of items and of keys.
      out: the settings file, from which paths are written.
    """
    for where, of in _candidates(layout):
        try:
            columns = read_sample(of).columns
        except InitError:
            continue
        names = [column.name for column in columns]
        if item not in names or key in names:
            continue
        catalogue: dict[str, str | None] = {"path": os.path.relpath(where.resolve(), out.resolve().parent)}
        pattern = None if where.is_file() else of.pattern
        catalogue |= {"pattern": pattern} | ({} if of.format == "csv" else {"format": of.format})
        proposals = [proposal for column in columns if column.name != item for proposal in propose(column)]
        shape = "one file" if pattern is None else f"{len(of.spans)} deliveries"
        guesses = [
            Guess("catalogue", None, f"{shape} with the column {item} could be it: `catalogue: {scalar(catalogue)}`")
        ]
        if proposals:
            lines = "\n".join(["with that catalogue these could be:", *map(str, proposals)])
            guesses.append(Guess("features.item", [], lines))
        if texts := [proposal for column in columns if column.name != item for proposal in propose_text(column)]:
            extra = "with an encoder, and `pip install warmspan[text]`, these could be features of items too:"
            guesses.append(Guess("encoders", {}, "\n".join([extra, *map(str, texts)])))
        return guesses
    return []


def propose(column: Column) -> Iterator[Proposal]:
    """The features that a column of a catalogue could be; none of names, texts and what is all the same."""
    values = column.values
    if len(set(values)) < 2:
        return
    missing = f", {column.rows - len(values):,} missing" if column.rows > len(values) else ""
    years = [match[1] for match in (re.search(_YEAR, value) for value in values) if match]
    if len(years) > len(values) / 2:
        declared = {"name": "year", "kind": "number", "column": column.name, "pattern": _YEAR}
        yield Proposal(declared, f"{min(years)} to {max(years)}, in {len(years):,} of {len(values):,}")
        return
    if most(_DATE.fullmatch(value) is not None for value in values) or column.kind == "time":
        yield Proposal(_named(column, "time"), f"{min(values)} to {max(values)}{missing}")
        return
    numbers = [number for number in map(number_in, values) if number is not None]
    amounts = column.kind == "float" or (column.kind == "int" and len(set(values)) > _FEW)
    if len(numbers) >= MOST * len(values) and amounts:
        yield Proposal(_named(column, "number"), f"{min(numbers):g} to {max(numbers):g}{missing}")
        return
    for separator in _SEPARATORS:
        several = sum(separator in value for value in values)
        words = Counter(word.strip() for value in values for word in set(value.split(separator)) if word.strip())
        if several > len(values) / 5 and _shared(words, len(values)):
            more = {} if separator == "|" else {"separator": separator}
            yield Proposal(_named(column, "categories", more), _seen(words, missing))
            return
    words = Counter(value.strip() for value in values)
    if _shared(words, len(values)):
        yield Proposal(_named(column, "category"), _seen(words, missing))


def propose_text(column: Column) -> Iterator[Proposal]:
    """The feature that a column of titles or descriptions could be: of several words, and of most items their own."""
    values = column.values
    phrases = most(re.search(r"[^\W\d_]\S*\s+\S", value) is not None for value in values)
    if phrases and len(set(values)) > len(values) / _ITEMS_A_WORD:
        yield Proposal(_named(column, "text"), f"such as {min(values, key=len)}")


def _candidates(layout: Layout) -> Iterator[tuple[Path, Layout]]:
    """Files and folders that are no events: each with how it is read, files that the events lie beside first."""
    events: Collection[Path] = set(layout.files)
    for folder in (layout.base, layout.base.parent):
        for file in sorted(folder.iterdir()):
            format = format_of(file) if file.is_file() and is_data_name(file.name) else None
            if format is not None and file not in events:
                yield file, Layout(folder, file.name, format, (file,), {file.name: (file,)}, ())
    siblings = sorted(path for path in layout.base.parent.iterdir() if path.is_dir() and is_data_name(path.name))
    for folder in siblings[:_FOLDERS_SEEN]:
        if folder.resolve() == layout.base.resolve() or folder in layout.base.parents:
            continue
        try:
            of = find_layout(folder)
        except InitError:
            continue
        if of.dated == layout.dated and of.base == folder.absolute():
            yield folder, of


def _named(column: Column, kind: str, more: dict[str, Any] | None = None) -> dict[str, Any]:
    name = re.sub(r"\W+", "_", column.name, flags=re.ASCII).strip("_") or "feature"
    name = name if name[0].isalpha() else f"feature_{name}"
    return {"name": name, "kind": kind, **({} if name == column.name else {"column": column.name}), **(more or {})}


def _shared(words: Counter[str], items: int) -> bool:
    return 1 < len(words) <= items / _ITEMS_A_WORD


def _seen(words: Counter[str], missing: str) -> str:
    examples = ", ".join(word for word, _ in words.most_common(_EXAMPLES))
    return f"{len(words):,} words, such as {examples}{missing}"
