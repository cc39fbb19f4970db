"""Twelve ways in which a day's file is wrong, made from a good one; some in two variants."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

_HOUR = 3600


@dataclasses.dataclass(frozen=True)
class Shop:
    """How a data set's files are read and written.

    Attributes:
      key, item, timestamp: its columns.
      moved: a table with all times moved by seconds.
      other_unit: the times in a unit that is not the set one.
      person: the key of somebody new, as the set writes keys.
      filled: values of other columns for events that are made up.
    """

    key: str
    item: str
    timestamp: str
    moved: Callable[[pd.DataFrame, int], pd.DataFrame]
    other_unit: Callable[[pd.Series], pd.Series]
    person: str
    filled: dict[str, str] = dataclasses.field(default_factory=dict)


def sick(
    shop: Shop, files: Sequence[pd.DataFrame], days: Sequence[int], seed: int
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yields name and table of each kind for the last of `files`, which are of the numbered `days`, oldest first."""
    random = np.random.default_rng(seed)
    file, day = files[-1].reset_index(drop=True), days[-1]
    catalogue = np.unique(np.concatenate([table[shop.item].to_numpy(str) for table in files[:-1]]))
    yield "labels shuffled within keys", _with(file, shop.item, _within_keys(file, shop, random))
    new_names = dict(zip(catalogue, random.permutation(catalogue), strict=True))
    yield "items permuted", _with(file, shop.item, [new_names.get(item, item) for item in file[shop.item]])
    yield "half the catalogue gone", file[[zlib.crc32(item.encode()) % 2 == 1 for item in file[shop.item]]]
    yield "a bot with a third of the events", pd.concat([file, _bot(file, shop, catalogue, random)])
    yield "yesterday's file again", shop.moved(files[-2], (day - days[-2]) * 24 * _HOUR)
    for name, columns in (("item", [shop.item]), ("key", [shop.key])):
        yield f"{name} ids prefixed", file.assign(**{c: file[c].map(_prefixed) for c in columns})
    yield "ids lowercased", file.assign(**{c: file[c].str.lower() for c in (shop.key, shop.item)})
    yield "times in another unit", file.assign(**{shop.timestamp: shop.other_unit(file[shop.timestamp])})
    for hours in (5, -5):
        yield f"time zone off by {hours:+d} h", shop.moved(file, hours * _HOUR)
    yield "a tenth of the volume, sampled", file.sample(frac=0.1, random_state=seed).sort_index()
    yield "a tenth of the volume, cut off", file.iloc[: len(file) // 10]
    ten = [shop.moved(table, (day - of) * 24 * _HOUR) for table, of in zip(files[-10:], days[-10:], strict=True)]
    yield "ten times the volume", pd.concat(ten)
    yield "item column shifted by a row", _with(file, shop.item, np.roll(file[shop.item].to_numpy(), 1))


def _with(file: pd.DataFrame, column: str, values: Sequence[str] | np.ndarray) -> pd.DataFrame:
    return file.assign(**{column: np.asarray(values)})


def _within_keys(file: pd.DataFrame, shop: Shop, random: np.random.Generator) -> np.ndarray:
    keys = pd.factorize(file[shop.key])[0]
    items = file[shop.item].to_numpy().copy()
    items[np.argsort(keys, kind="stable")] = items[np.lexsort([random.random(len(file)), keys])]
    return items


def _bot(file: pd.DataFrame, shop: Shop, catalogue: np.ndarray, random: np.random.Generator) -> pd.DataFrame:
    """Somebody new who asks for everything alike, at the times of all others."""
    people = file[file[shop.key] != ""]
    bot = people.sample(len(people) // 2, replace=True, random_state=1)
    return bot.assign(**{**shop.filled, shop.key: shop.person, shop.item: random.choice(catalogue, len(bot))})


def _prefixed(text: str) -> str:
    return f"x-{text}" if text else text
