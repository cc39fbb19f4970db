"""Writes the settings file that fits the data, and says of each guess why."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.span_example_gen.settings import Settings, make_settings
from pipeline.config import load_config
from pipeline.config.data import Data
from pipeline.init.column_roles import Choice, choose_columns, weight_candidates, whole_floats
from pipeline.init.errors import InitError
from pipeline.init.expected_rejects import Expected, expect, reject_rules
from pipeline.init.guess import Guess, percent
from pipeline.init.item_features import propose_catalogue
from pipeline.init.model_settings import guess_model
from pipeline.init.query_features import propose_context
from pipeline.init.sample import Column, Sample, read_sample
from pipeline.init.span_hours import guess_span_hours, in_hours, share_on_their_day, times_by_span
from pipeline.init.span_layout import Layout, find_layout
from pipeline.init.template import render
from pipeline.init.timestamp_format import Reading, ways_to_read
from trainer.atomic_write import atomic_write

_NO_NAMES = {"events", "data", "raw", "interactions", "logs", "train", "input", "csv", "parquet"}
_TITLES = ("title", "name", "description", "itemname", "productname")


def write_config(
    data_path: Path,
    out: Path,
    *,
    key: str | None = None,
    item: str | None = None,
    timestamp: str | None = None,
    weight: str | None = None,
    timestamp_format: str | None = None,
    overwrite: bool = False,
) -> list[Guess]:
    """Writes a commented settings file for the events below `data_path`.

    Args:
      data_path: the folder of all spans; a single span's folder, or a file in it, also tells where the others lie.
      out: the YAML file to write.
      key: the column of keys; like the next three, guessed where it is None.
      item: the column of items.
      timestamp: the column of times.
      weight: the column of weights or ratings.
      timestamp_format: strptime's pattern of the timestamps, where it is not to be guessed.
      overwrite: whether `out` may exist.

    Returns:
      What was guessed, in the order of the file.

    Raises:
      InitError: `out` exists, or something can't be told from the files; the message says what to give.
    """
    if out.exists() and not overwrite:
        raise InitError(f"The settings file must not exist yet. Received: {str(out)!r}. Name another, or use --force.")
    layout = find_layout(data_path)
    sample = read_sample(layout)
    columns = {column.name: column for column in sample.columns}
    given = {"key": key, "item": item, "timestamp": timestamp, "weight": weight}
    readings = {name: ways_to_read(column, timestamp_format) for name, column in columns.items()}
    chosen = choose_columns(list(columns.values()), given, readings)
    by_part = {part: columns[choice.column] for part, choice in chosen.items()}
    reading = _reading(by_part["timestamp"], sample, readings, timestamp_format)
    times = times_by_span(reading, sample.rows)
    hours, strangers = guess_span_hours(times, layout.dated)
    taken = {choice.column for part, choice in chosen.items() if part != "weight"}
    weights = [weight] if weight else weight_candidates(list(columns.values()), taken, readings)

    guesses = [*_where(layout, out), *_columns(chosen, by_part, weights, sample), _when(reading, timestamp_format)]
    guesses += [hours] if hours else []
    windowed = hours.value is not None if hours else layout.dated
    guesses += reject_rules(by_part, [columns[name] for name in weights], windowed)
    expected = expect(sample, _settings(guesses), strangers)
    guesses += [*expected.guess(), *_titles(layout, chosen["item"].column, out)]
    guesses += propose_catalogue(layout, chosen["item"].column, chosen["key"].column, out)
    event = {choice.column for choice in chosen.values()}
    guesses += propose_context(list(columns.values()), event | {*weights})
    guesses += guess_model(chosen["key"].column, sample.keys(chosen["key"].column))
    if hours and hours.value == 1:
        guesses += in_hours()
    if note := _repeats(expected, reading):
        guesses = [
            replace(guess, why=f"{guess.why}; {note}") if guess.setting == "data.columns.timestamp" else guess
            for guess in guesses
        ]

    head = (
        f"Settings of warmspan, written by `warmspan init` after a look at {expected.rows:,} rows in "
        f"{len(sample.spans)} of {len(layout.spans)} spans.\n"
        "What counts spans can be a duration too, where a span has a length: 36h, 7d, 2w."
    )
    values = {guess.setting: guess.value for guess in guesses}
    _write(out, render(values, {guess.setting: guess.why for guess in guesses}, head))
    return guesses


def _where(layout: Layout, out: Path) -> list[Guess]:
    folder = next((part for part in reversed(layout.base.parts) if part.lower() not in _NO_NAMES), "")
    name = re.sub(r"[^A-Za-z0-9]+", "_", folder).strip("_")
    name = name if re.match(r"[A-Za-z]", name) else "recommender"
    count = len(layout.spans)
    first, *_, last = [*layout.spans, *layout.spans]
    seen = f"{count} span{'s' if count > 1 else ''}, {first} to {last}"
    if layout.others:
        example = layout.others[0].relative_to(layout.base).as_posix()
        seen += f"; {len(layout.others)} other file(s) do not belong to it, such as {example}"
    return [
        Guess("name", name, "from the folder"),
        Guess("data.path", _relative(layout.base, out), "where your files lie"),
        Guess("data.pattern", layout.pattern, seen),
        Guess("data.format", layout.format, "by the files' ending"),
    ]


def _columns(
    chosen: Mapping[str, Choice], by_part: Mapping[str, Column], weights: Sequence[str], sample: Sample
) -> list[Guess]:
    guesses = []
    for part in ("key", "item", "timestamp", "weight"):
        if part not in chosen:
            continue
        why = chosen[part].why
        if part in ("key", "item") and (id_ := whole_floats(by_part[part])):
            why += f"; ids such as {id_} are read as {id_.partition('.')[0]}"
        if part in ("key", "item") and (words := by_part[part].nothings):
            why += f"; {words.total():,} of {by_part[part].rows:,} are {' or '.join(map(repr, words))}, which is nobody"
        if without := sample.lacking(chosen[part].column):
            why += f"; but {without[0].relative_to(sample.layout.base)} has no such column"
        guesses.append(Guess(f"data.columns.{part}", chosen[part].column, why))
    if "weight" not in chosen and weights:
        names = " or ".join(weights)
        note = f"{names} could be an event's weight: `data.columns.weight: {weights[0]}` makes events count by it"
        guesses.append(Guess("data.columns.weight", None, note))
    return guesses


def _reading(column: Column, sample: Sample, readings: Mapping[str, Sequence[Reading]], format: str | None) -> Reading:
    # Of a column that the user has named, half is enough.
    ways = [reading for reading in readings[column.name] if reading.clear] or list(readings[column.name])[:1]
    if len(ways) > 1 and sample.layout.dated:
        # 03/05 is a day in May or in March: the folders' dates tell.
        shares = [share_on_their_day(times_by_span(reading, sample.rows)) for reading in ways]
        ways = [reading for reading, share in zip(ways, shares, strict=True) if share == max(shares)]
    received = f"Received: {column.values[:3]}."
    if not ways and format:
        raise InitError(f"`--timestamp-format` must fit the times in column {column.name!r}. {received}")
    if not ways:
        raise InitError(
            f"The times in column {column.name!r} must be readable, most of them in one way. {received} "
            "Give their strptime pattern: --timestamp-format '%d/%m/%Y %H:%M'."
        )
    if len(ways) > 1:
        could_be = " or ".join(repr(reading.format or reading.words) for reading in ways)
        raise InitError(
            f"The times in column {column.name!r} can be read as {could_be}. {received} "
            "Say which: --timestamp-format PATTERN"
        )
    return ways[0]


def _when(reading: Reading, format: str | None) -> Guess:
    seen = f"{reading.words}: {reading.first:%Y-%m-%d %H:%M} to {reading.last:%Y-%m-%d %H:%M} in the rows looked at"
    if wrong := int((~reading.plausible).sum()):
        seen += f"; {wrong:,} of {len(reading.plausible):,} have no such time"
    if reading.format:
        return Guess("data.timestamp_format", reading.format, f"you said so; {seen}" if format else seen)
    return Guess("data.timestamp_unit", reading.unit, seen)


def _settings(guesses: Sequence[Guess]) -> Settings:
    """What ingestion will be given."""
    sections: dict[str, Any] = {"columns": {}}
    for guess in guesses:
        match guess.setting.split("."):
            case ["data", "columns", part]:
                sections["columns"][part] = guess.value
            case ["data", name]:
                sections[name] = guess.value
    data = Data.model_validate(sections)
    return make_settings(data.model_dump(mode="json"), data.pattern, 0.0)


def _repeats(expected: Expected, reading: Reading) -> str:
    notes = []
    if reading.days_alone:
        notes.append("these are dates without a clock: the order within a day is not known")
    if reading.days_alone or expected.repeats > 0.01 * expected.events:
        share = percent(expected.repeats / expected.events)
        notes.append(
            "events that are the same in all columns named here count once: "
            f"{expected.repeats:,} of the {expected.events:,} looked at ({share}) are dropped"
        )
    return "; ".join(notes)


def _titles(layout: Layout, item: str, out: Path) -> list[Guess]:
    for folder in (layout.base, layout.base.parent):
        for file in sorted(folder.glob("*.csv")):
            if file in layout.files:
                continue
            with file.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
                header = next(csv.reader(lines), [])
            titles = [name for name in header if re.sub(r"[^a-z]", "", name.lower()) in _TITLES]
            if item in header and titles:
                return [
                    Guess("data.items", _relative(file, out), f"has the columns {item} and {titles[0]}"),
                    Guess("data.item_title", titles[0], "by its name"),
                ]
    return []


def _relative(path: Path, out: Path) -> str:
    return os.path.relpath(path.resolve(), out.resolve().parent)


def _write(out: Path, text: str) -> None:
    with atomic_write(out) as beside:
        beside.write_text(text, encoding="utf-8")
        load_config(beside)
