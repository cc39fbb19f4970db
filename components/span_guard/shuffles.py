"""What belongs together on a day, against the same day with its items shuffled."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from components.span_guard.profile import Sketches
from components.span_guard.sketch import Codes, Counts, paired

# Of so many events these figures are near enough, and a day of millions costs no more.
MOST_EVENTS = 100_000
BANDS = 4
_SEED = 13
_SHUFFLES = 4
LEAST_PAIRS = 50
# A value of an item, or a band of a key, counts as seen so often as its share of the day has it of this many events.
_PRIOR = 3.0

Floats = npt.NDArray[np.float64]


def order(items: Codes, keys: Codes, before: Sketches) -> dict[str, float]:
    """How well past transitions foretell a key's next item, against its items shuffled, and against anybody's.

    A pair scores by how much more often it was seen than chance says; items of one key that go together score above
    those of different keys (`company`), in their order above out of it (`order`). Neither is given as less than twice
    the standard error of the score: below that it can't be told from nothing.

    Args:
      items, keys: hashes and codes of a day's events [n], by key and time.
      before: of the past days.
    """
    follows = keys[1:] == keys[:-1]
    if follows.sum() < LEAST_PAIRS:
        return {}
    random = np.random.default_rng(_SEED)
    within, across = [], []
    for _ in range(_SHUFFLES):
        within.append(_scores(items[np.lexsort([random.random(len(items)), keys])], follows, before).mean())
        across.append(_scores(random.permutation(items), follows, before).mean())
    real, own, anybody = _scores(items, follows, before), float(np.mean(within)), float(np.mean(across))
    noise = 2 * float(real.std()) / len(real) ** 0.5
    return {"order": max(float(real.mean()) - own, noise), "company": max(own - anybody, noise)}


def _scores(items: Codes, follows: npt.NDArray[np.bool_], before: Sketches) -> Floats:
    """One for each pair of neighbours, `[m]`; 0 where an item is not known, or follows itself."""
    first, second = items[:-1][follows], items[1:][follows]
    total = max(before.items.total, 1)
    chance = before.items[first] * before.items[second] / total / total * before.transitions.total
    judged = (chance > 0) & (first != second)
    # 0.05: a pair seen once that chance gives next to nothing is worth 3, not infinitely much.
    return np.where(judged, np.log1p(before.transitions[paired(first, second)] / (chance + 0.05)), 0.0)


def bands_of(items: Codes, before: Counts) -> Codes:
    """For each item its band by how popular it was, int64 [n]: 0 for those with the first quarter of all events.

    `BANDS` for one that is new.
    """
    if not before.total:
        return np.full(len(items), BANDS)
    by_count = np.argsort(-before.counts, kind="stable")
    share = np.cumsum(before.counts[by_count]) - before.counts[by_count] / 2
    bands = np.empty(len(by_count), np.int64)
    bands[by_count] = np.minimum(share * BANDS / before.total, BANDS - 1)
    return np.where(before[items] > 0, Counts(before.places, bands)[items], BANDS)


def belongs(items: Codes, keys: Codes, bands: Codes, values: Mapping[str, Codes], before: Sketches) -> dict[str, float]:
    """How much better a day's items go with their rows than the same items shuffled over all rows, in nats an event.

    An item goes with a row by the values of its columns, as its past events had them, and by how popular it is, as
    the key's past events were. Not given as less than the standard error: below that it can't be told from nothing.

    Args:
      items, keys: hashes of a day's events [n].
      bands: of the items [n], from `bands_of`.
      values: by column the hashes of its values [n].
      before: of the past days.
    """
    of_item, of_key = before.items[items], before.keys[keys]
    columns = [
        (column, _shares(column), before.columns[name]) for name, column in values.items() if name in before.columns
    ]
    judged = (of_key > 0) | ((of_item > 0) & bool(columns))
    if judged.sum() < LEAST_PAIRS:
        return {}
    of_bands = _shares(bands)

    def scores(rows: Codes) -> Floats:
        score = _information(before.tastes[paired(keys, bands[rows])], of_key, of_bands[rows])
        for column, shares, together in columns:
            score += _information(together[paired(items[rows], column)], of_item[rows], shares)
        return score

    real, random = scores(np.arange(len(items))), np.random.default_rng(_SEED)
    chance = float(np.mean([scores(random.permutation(len(items))).mean() for _ in range(_SHUFFLES)]))
    return {"belongs": max(float(real.mean()) - chance, float(real.std()) / len(real) ** 0.5)}


def _shares(values: Codes) -> Floats:
    """For each event the share of the day's events that have its value, `[n]`."""
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    return counts[codes] / max(len(values), 1)


def _information(together: Codes, of_first: Codes, shares: Floats) -> Floats:
    """Log of how much likelier a value is beside its item or key than by its share of the day; 0 for what is new."""
    return np.where(of_first > 0, np.log((together + _PRIOR * shares) / (of_first + _PRIOR) / shares), 0.0)


def sample_of_keys(keys: Codes) -> npt.NDArray[np.bool_]:
    """Which events [n] are looked at, given the hashes of their keys: all of some keys, about `MOST_EVENTS` of them."""
    return keys % 4096 < 4096 * MOST_EVENTS / max(len(keys), 1)
