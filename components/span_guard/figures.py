"""A day in some twenty figures, each beside what the days before it showed: one pass over its events."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.span_guard.limits import CATALOGUE_DAYS, DRIFT, FITS, IMPLAUSIBLE, PAST
from components.span_guard.profile import Profile, Sketches
from components.span_guard.shuffles import bands_of, belongs, order, sample_of_keys
from components.span_guard.sketch import Codes, Counts, hashes_of, paired

_HOUR, _SLOT, _DAY_HOURS = 3_600_000, 600_000, 24
# Below this a share says nothing: its figure is left out, and nothing is held for it.
_LEAST_EVENTS = 30
_PLAUSIBLE = (315_532_800_000, 4_102_444_800_000)  # 1980 to 2100
_GROUPS = 64
_MOST_SHAPES = 100

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Day:
    """A span's clean events, `[n]` each, in any order that keeps a key's events of one time as they came.

    Attributes:
      keys, items: binary.
      timestamps: int64, unix milliseconds.
      columns: weight and context columns by name, any type; a missing value is null.
      rows, rejects, duplicates: what ingestion counted.
      start: where the span begins, unix milliseconds; None where that is not known.
    """

    keys: pa.Array
    items: pa.Array
    timestamps: npt.NDArray[np.int64]
    columns: Mapping[str, pa.Array]
    rows: int
    rejects: int
    duplicates: int
    start: int | None = None


def measure(span: int, day: Day, past: Sequence[Profile]) -> Profile:
    """Measures a day against those before it.

    Args:
      span: its number.
      day: its events.
      past: of the last days that were let in, oldest first; without any, what compares with them is left out.
    """
    n = len(day.timestamps)
    (item_hashes, item_codes), (key_hashes, key_codes) = hashes_of(day.items), hashes_of(day.keys)
    items, keys = item_hashes[item_codes], key_hashes[key_codes]
    by_key = np.lexsort([day.timestamps, key_codes])
    ordered, follows = items[by_key], key_codes[by_key][1:] == key_codes[by_key][:-1]
    pairs = paired(keys, items)
    values = {name: _value_hashes(column) for name, column in day.columns.items()}
    fits = {name: paired(items, column) for name, column in values.items()}
    before = Sketches.sum([profile.sketches for profile in past])
    bands = bands_of(item_hashes, before.items)[item_codes]
    today = Profile(
        span=span,
        figures={},
        shapes={"items": _shapes(day.items, item_codes), "keys": _shapes(day.keys, key_codes)},
        hours=(np.bincount(day.timestamps // _HOUR % _DAY_HOURS, minlength=_DAY_HOURS) / max(n, 1)).tolist(),
        values={name: _histogram(column) for name, column in day.columns.items()},
        sketches=Sketches(
            items=Counts.of(item_hashes, np.bincount(item_codes, minlength=len(item_hashes))),
            keys=Counts.of(key_hashes, np.bincount(key_codes, minlength=len(key_hashes))),
            transitions=Counts.of(paired(ordered[:-1], ordered[1:])[follows]),
            pairs=Counts.of(pairs),
            tastes=Counts.of(paired(keys, bands)),
            columns={name: Counts.of(hashes) for name, hashes in fits.items()},
        ),
    )
    figures = {PAST: float(len(past)), **_counted(day)}
    if n >= _LEAST_EVENTS:
        figures |= _alone(day, item_codes, key_codes)
    if n >= _LEAST_EVENTS and past:
        recent = Counts.sum(profile.sketches.items for profile in past[-CATALOGUE_DAYS:])
        figures |= _known(items, keys, pairs, before)
        figures["catalogue"] = _catalogue(n, today.sketches.items, recent)
        figures["echo"] = max(today.sketches.pairs.shares_with(profile.sketches.pairs) for profile in past)
        for kind, shapes in today.shapes.items():
            figures[f"shapes_of_{kind}"] = _usual_shape(shapes, [profile.shapes[kind] for profile in past])
        figures |= _hours(np.array(today.hours), np.mean([profile.hours for profile in past], axis=0))
        sample = sample_of_keys(keys)
        here = by_key[sample[by_key]]
        figures |= order(items[here], key_codes[here], before)
        columns = {name: column[sample] for name, column in values.items()}
        figures |= belongs(items[sample], keys[sample], bands[sample], columns, before)
        figures |= _columns(today, fits, before.items[items] > 0, before, past)
    return dataclasses.replace(today, figures=figures)


def _counted(day: Day) -> dict[str, float]:
    """What needs no event, or no more than its time."""
    figures = {"events": float(len(day.timestamps)), "rejects": day.rejects / max(day.rows, 1)}
    if day.rows > day.rejects:
        figures["duplicates"] = day.duplicates / (day.rows - day.rejects)
    if len(day.timestamps):
        plausible = (day.timestamps >= _PLAUSIBLE[0]) & (day.timestamps < _PLAUSIBLE[1])
        figures[IMPLAUSIBLE] = float(1 - plausible.mean())
    return figures


def _alone(day: Day, items: Codes, keys: Codes) -> dict[str, float]:
    """What a day says of itself."""
    slots = day.timestamps // _SLOT
    slots -= slots.min()
    busy = np.unique(keys * (slots.max() + 1) + slots) // (slots.max() + 1)
    figures = {
        "largest_key": float(np.bincount(keys).max() / len(keys)),
        "largest_item": float(np.bincount(items).max() / len(items)),
        "busiest_key": float(np.bincount(busy).max()),
        "events_per_key": len(keys) / (int(keys.max()) + 1),
    }
    if day.start is not None:
        first, last = np.quantile(day.timestamps - day.start, [0.002, 0.998]) / _HOUR
        figures |= {"first_hour": float(first), "last_hour": float(last)}
    return figures


def _known(items: Codes, keys: Codes, pairs: Codes, before: Sketches) -> dict[str, float]:
    seen = before.items[items]
    figures = {
        "known_items": float((seen > 0).mean()),
        "known_keys": float((before.keys[keys] > 0).mean()),
        "repeats": float((before.pairs[pairs] > 0).mean()),
    }
    if (seen > 0).sum() >= _LEAST_EVENTS:
        figures["popularity"] = float(np.log(seen[seen > 0] / before.items.total * len(before.items.places)).mean())
    return figures


def _catalogue(n: int, today: Counts, recent: Counts) -> float:
    """Of the items that `n` events should show, going by the last days, the share that they do show; about 1."""
    share = recent.counts / max(recent.total, 1)
    chance = -np.expm1(-n * share)
    # Only what a day of this size surely has counts: a small day misses many by chance, with a whole catalogue or half.
    weight = share * chance**3
    expected = float((weight * chance).sum())
    return float(weight[today[recent.places] > 0].sum()) / expected if expected else 1.0


def _hours(today: Floats, usual: Floats) -> dict[str, float]:
    """The usual share of hours without an event, and how much better the usual day fits when it is shifted."""
    smooth = np.log(0.98 * usual + 0.02 / _DAY_HOURS)
    fits = [float((today * np.roll(smooth, shift)).sum()) for shift in range(_DAY_HOURS)]
    return {"missing_hours": float(usual[today == 0].sum()), "shifted_hours": max(fits) - fits[0]}


def _columns(
    today: Profile, fits: Mapping[str, Codes], known: npt.NDArray[np.bool_], before: Sketches, past: Sequence[Profile]
) -> dict[str, float]:
    figures = {}
    for name, hashes in fits.items():
        usual = [profile.values[name] for profile in past if name in profile.values]
        if not usual:
            continue
        figures[f"{DRIFT} {name}"] = _jensen_shannon(np.array(today.values[name]), np.mean(usual, axis=0))
        if known.sum() >= _LEAST_EVENTS:
            figures[f"{FITS} {name}"] = float((before.columns[name][hashes[known]] > 0).mean())
    return figures


def _jensen_shannon(p: Floats, q: Floats) -> float:
    """In bits, 0 to 1 (Lin, "Divergence measures based on the Shannon entropy", 1991)."""
    middle = (p + q) / 2
    return float(sum((0.5 * part[part > 0] * np.log2(part[part > 0] / middle[part > 0])).sum() for part in (p, q)))


def _histogram(column: pa.Array) -> list[float]:
    """Shares of 64 groups: of values by hash, of numbers with more values than groups by the power of two."""
    groups = _value_hashes(column) % _GROUPS
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        numbers = column.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
        if len(np.unique(numbers)) > _GROUPS:
            with np.errstate(divide="ignore"):
                power = np.clip(np.nan_to_num(np.log2(np.abs(numbers)), nan=21), -10, 21).astype(np.int64)
            groups = np.where(numbers < 0, _GROUPS // 2, 0) + power + 10
    return (np.bincount(groups, minlength=_GROUPS) / max(len(column), 1)).tolist()


def _value_hashes(column: pa.Array) -> Codes:
    binary = pa.types.is_binary(column.type) or pa.types.is_string(column.type)
    text = column if binary else column.cast(pa.string())
    hashes, codes = hashes_of(text.cast(pa.binary()).fill_null(b"\xff"))
    return hashes[codes]


def _shapes(ids: pa.Array, codes: Codes) -> dict[str, float]:
    """The share of events by the shape of the id: digits, capitals and small letters in their order and number."""
    if not len(codes):
        return {}
    different = ids.dictionary_encode().dictionary.cast(pa.string())
    for pattern, mark in ((r"\d", "0"), (r"\p{Lu}", "A"), (r"\p{Ll}", "a")):
        different = pc.replace_substring_regex(different, pattern=pattern, replacement=mark)
    shaped = different.dictionary_encode()
    counts = np.bincount(shaped.indices.to_numpy()[codes], minlength=len(shaped.dictionary))
    largest = np.argsort(-counts, kind="stable")[:_MOST_SHAPES]
    return {shaped.dictionary[int(at)].as_py(): float(counts[at] / len(codes)) for at in largest}


def _usual_shape(today: Mapping[str, float], past: Sequence[Mapping[str, float]]) -> float:
    usual = {shape for shapes in past for shape in shapes}
    return sum(share for shape, share in today.items() if shape in usual)
