"""What is kept of a day: figures for people, counts by hash for the days after it; no id and no row."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.span_guard.sketch import NOTHING, Counts
from trainer.atomic_write import atomic_write

PROFILE_FILE, SKETCHES_FILE = "profile.json", "sketches.npz"
_COUNTED = ("items", "keys", "transitions", "pairs", "tastes")
_COLUMN, _PLACES, _COUNTS = "column ", " places", " counts"
_ABOUT = ("span", "figures", "shapes", "hours", "values")


@dataclasses.dataclass(frozen=True)
class Sketches:
    """Counts of a day, or of several together.

    Attributes:
      items, keys: of ids.
      transitions: of an item and the next one of the same key.
      pairs: of key and item.
      tastes: of key and the band of popularity (`shuffles.bands_of`) of its event's item.
      columns: of item and value, by column.
    """

    items: Counts
    keys: Counts
    transitions: Counts
    pairs: Counts
    tastes: Counts
    columns: Mapping[str, Counts]

    @classmethod
    def sum(cls, parts: Sequence[Sketches]) -> Sketches:
        names = {name for part in parts for name in part.columns}
        columns = {name: Counts.sum(part.columns[name] for part in parts if name in part.columns) for name in names}
        return cls(
            items=Counts.sum(part.items for part in parts),
            keys=Counts.sum(part.keys for part in parts),
            transitions=Counts.sum(part.transitions for part in parts),
            pairs=Counts.sum(part.pairs for part in parts),
            tastes=Counts.sum(part.tastes for part in parts),
            columns=columns,
        )


@dataclasses.dataclass(frozen=True)
class Profile:
    """What is kept of a day.

    Attributes:
      span: its number.
      figures: by name (`limits.LIMITS`); one that could not be measured is absent.
      shapes: of `items` and `keys`, the share of events by the shape of the id (`00000a`).
      hours: `[24]`, the share of events by hour of the day (UTC).
      values: by column the share of events in each of 64 groups of values.
      sketches: counts by hash.
    """

    span: int
    figures: Mapping[str, float]
    shapes: Mapping[str, Mapping[str, float]]
    hours: Sequence[float]
    values: Mapping[str, Sequence[float]]
    sketches: Sketches

    def write(self, folder: str, said: Mapping[str, Any]) -> None:
        """Writes both files; `said` is put beside the figures for those who read them."""
        counts = {name: getattr(self.sketches, name) for name in _COUNTED}
        counts |= {_COLUMN + name: column for name, column in self.sketches.columns.items()}
        arrays = {name + _PLACES: part.places.astype(np.int32) for name, part in counts.items()}
        arrays |= {name + _COUNTS: part.counts for name, part in counts.items()}
        with atomic_write(Path(folder) / SKETCHES_FILE) as beside, beside.open("wb") as out:
            np.savez(out, **arrays)
        about = {name: getattr(self, name) for name in _ABOUT}
        with atomic_write(Path(folder) / PROFILE_FILE) as beside:
            beside.write_text(json.dumps({**about, **said}, indent=1))

    @classmethod
    def read(cls, folder: str) -> Profile:
        about = json.loads((Path(folder) / PROFILE_FILE).read_text())
        with np.load(Path(folder) / SKETCHES_FILE) as arrays:
            names = [name.removesuffix(_PLACES) for name in arrays if name.endswith(_PLACES)]
            counts = {name: Counts(arrays[name + _PLACES].astype(np.int64), arrays[name + _COUNTS]) for name in names}
        columns = {name.removeprefix(_COLUMN): counts.pop(name) for name in names if name.startswith(_COLUMN)}
        # What profiles of before did not count yet is nothing.
        sketches = Sketches(**{name: counts.get(name, NOTHING) for name in _COUNTED}, columns=columns)
        return cls(**{name: about[name] for name in _ABOUT}, sketches=sketches)
