"""Writes the settings file that fits the data, and says of each guess why."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pipeline.config import load_config
from pipeline.init.column_roles import choose_columns, readings_of
from pipeline.init.errors import InitError
from pipeline.init.sample import Column, read_sample
from pipeline.init.span_layout import Layout, find_layout
from pipeline.init.template import render
from pipeline.init.timestamp_format import Reading
from trainer.atomic_write import atomic_write

_NO_NAMES = {"events", "data", "raw", "interactions", "logs", "train", "input", "csv", "parquet"}
_TITLES = ("title", "name", "description", "itemname", "productname")


@dataclass(frozen=True)
class Guess:
    """A setting that was chosen by looking at the data, and why."""

    setting: str
    value: Any
    why: str

    def __str__(self) -> str:
        return f"{self.setting}: {self.value} ({self.why})"


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
    some = sorted({0, len(layout.files) // 2, len(layout.files) - 1})
    columns = read_sample([layout.files[place] for place in some], layout.format)
    given = {"key": key, "item": item, "timestamp": timestamp, "weight": weight}
    chosen = choose_columns(columns, given)
    by_name = {column.name: column for column in columns}

    guesses = _where(layout, out)
    for part in (part for part in given if part in chosen):
        guesses.append(Guess(f"data.columns.{part}", chosen[part].column, chosen[part].why))
    guesses += _when(by_name[chosen["timestamp"].column], layout, timestamp_format)
    guesses += _rejects({part: by_name[choice.column] for part, choice in chosen.items()})
    guesses += _titles(layout, chosen["item"].column, out)

    head = f"Settings of warmspan, written by `warmspan init` after a look at {len(some)} of {len(layout.files)} files."
    values = {guess.setting: guess.value for guess in guesses}
    _write(out, render(values, {guess.setting: guess.why for guess in guesses}, head))
    return guesses


def _where(layout: Layout, out: Path) -> list[Guess]:
    folder = next((part for part in reversed(layout.base.parts) if part.lower() not in _NO_NAMES), "")
    name = re.sub(r"[^A-Za-z0-9]+", "_", folder).strip("_")
    name = name if re.match(r"[A-Za-z]", name) else "recommender"
    count = len(layout.spans)
    seen = f"{count} span{'s' if count > 1 else ''}, {layout.spans[0]} to {layout.spans[-1]}"
    if layout.others:
        example = layout.others[0].relative_to(layout.base).as_posix()
        seen += f"; {len(layout.others)} other file(s) do not belong to it, such as {example}"
    return [
        Guess("name", name, "from the folder"),
        Guess("data.path", _relative(layout.base, out), "where your files lie"),
        Guess("data.pattern", layout.pattern, seen),
        Guess("data.format", layout.format, "by the files' ending"),
    ]


def _when(column: Column, layout: Layout, format: str | None) -> list[Guess]:
    if format is not None:
        return [Guess("data.timestamp_format", format, "you said so")]
    readings = readings_of(column)
    if len(readings) > 1 and layout.dated:
        readings = _on_their_day(readings, column.name, layout) or readings
    if not readings:
        raise InitError(
            f"The times in column {column.name!r} must be readable. Received: {list(column.values[:3])}. "
            "Give their strptime pattern: --timestamp-format '%d/%m/%Y %H:%M'."
        )
    if len(readings) > 1:
        could_be = " or ".join(repr(reading.format) for reading in readings)
        raise InitError(
            f"The times in column {column.name!r} can be read as {could_be}. Received: {list(column.values[:3])}. "
            "Say which: --timestamp-format PATTERN"
        )
    (reading,) = readings
    seen = f"{reading.words}: {reading.first:%Y-%m-%d %H:%M} to {reading.last:%Y-%m-%d %H:%M} in the rows looked at"
    if reading.format:
        return [Guess("data.timestamp_format", reading.format, seen)]
    return [Guess("data.timestamp_unit", reading.unit or "s", seen)]


def _on_their_day(readings: Sequence[Reading], name: str, layout: Layout) -> list[Reading]:
    # 03/05 is a day in May or in March: the folder's date tells.
    day = date.fromisoformat(layout.spans[0])
    first = {column.name: column for column in read_sample(layout.files[:1], layout.format)}[name]
    fit = {reading.format for reading in readings_of(first) if reading.first.date() <= day <= reading.last.date()}
    return [reading for reading in readings if reading.format in fit]


def _rejects(columns: Mapping[str, Column]) -> list[Guess]:
    guesses = []
    worst = max((columns[part] for part in ("key", "item", "timestamp")), key=lambda column: column.missing)
    share, seen = worst.missing, f"{worst.missing:.0%} of the rows looked at have no {worst.name}"
    if (weight := columns.get("weight")) and weight.kind in ("int", "float"):
        below = sum(float(value) < 0 for value in weight.values) / weight.rows
        if below:
            share, seen = share + below, f"{seen}, {below:.1%} a {weight.name} below 0"
            guesses.append(Guess("data.weight_above", 0, f"{weight.name} below 0 is a return or a cancellation"))
    if share > 0.03:
        allowed = min(1.0, math.ceil((share + 0.15) * 10) / 10)
        guesses.append(Guess("data.max_reject_fraction", allowed, f"{seen}: they will be rejected"))
    return guesses


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
