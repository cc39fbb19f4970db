"""A simulated shop that writes real span files: what `warmspan demo` runs on, and tests that need something to learn.

People have tastes over the departments and the styles of the shop; both drift from day to day. Every day brings new
people and new articles, weekends bring more visits and other interests, and once a fortnight a department is on
promotion. One night the shop may exchange all that it sells. Nothing here knows of TensorFlow: the files are all that
the pipeline gets to see.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.demo.catalogue import DEPARTMENTS, STYLES, Catalogue
from trainer.atomic_write import atomic_write

PROMOTION_EVERY = 14
FIRST_PROMOTION = 3
SATURDAY = 5

# Sizes of effects, in log-odds unless said otherwise.
TASTE_SPREAD = 1.6
STYLE_SPREAD = 1.2
DRIFT_PER_DAY = 0.15
POPULARITY_SPREAD = 1.0
NEWNESS_BONUS = 1.5
NEWNESS_HALF_LIFE_DAYS = 4.0
WEEKEND_SPREAD = 1.0
PROMOTION_BONUS = 2.5
ALREADY_BOUGHT = -4.0
WEEKEND_VISITS = 1.4  # times as many
PROMOTION_VISITS = 1.3

EVENTS_PER_VISIT = 3.0
SECONDS_BETWEEN_EVENTS = 90.0
SECONDS_PER_DAY = 86_400
LONG_AGO = -1000  # the day number of what is there on the first day, new to nobody
VISITS_AT_ONCE = 512  # bounds the visits x articles matrix

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


# How a settings file beside the simulated shop's folder `shop` begins; what follows may go on with the section `data`.
SHOP_SETTINGS = """\
name: shop
root: run
data:
  path: shop/events
  pattern: "{YYYY}-{MM}-{DD}/*.csv"
  columns: {key: user_id, item: item_id, timestamp: timestamp}
"""
# What is to be added at the end of it for a model that learns what the articles are.
CATALOGUE_SETTINGS = """\
catalogue: {path: shop/catalogue, pattern: "{YYYY}-{MM}-{DD}/*.csv"}
features:
  item:
    - {name: category, kind: category}
    - {name: material, kind: category}
"""


@dataclass(frozen=True)
class Shop:
    """How big the shop is: on the day it opens, and what every further day adds.

    `turnover`: the day, counted from 0, from which on nothing is sold that was sold before.
    """

    events_per_day: int
    users: int
    items: int
    new_users_per_day: int
    new_items_per_day: int
    turnover: int | None = None

    def __post_init__(self) -> None:
        """Refuses a shop in which nothing can happen."""
        for name in ("events_per_day", "users", "items"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {getattr(self, name)!r}.")
        for name in ("new_users_per_day", "new_items_per_day"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must be at least 0. Received: {getattr(self, name)!r}.")
        if self.turnover is not None and self.turnover < 1:
            raise ValueError(f"`turnover` must be at least 1, the second day. Received: {self.turnover!r}.")

    def items_on(self, number: int) -> int:
        """How many articles come on a day."""
        return self.items if number in (0, self.turnover) else self.new_items_per_day

    def sold_on(self, number: int) -> range:
        """The articles that are sold on a day, by number."""
        until = [sum(self.items_on(day) for day in range(end)) for end in (self.turnover or 0, number + 1)]
        return range(until[0] if self.turnover is not None and number >= self.turnover else 0, until[1])


@dataclass(frozen=True)
class Day:
    """One day's events in the order of time, all arrays of shape `[events]`."""

    date: date
    users: Ints
    items: Ints
    timestamps: Ints
    quantities: Ints


def simulate(
    path: Path,
    first_day: date,
    days: int,
    seed: int,
    *,
    events_per_day: int = 3000,
    users: int = 800,
    items: int = 400,
    new_users_per_day: int = 25,
    new_items_per_day: int = 12,
    turnover: int | None = None,
) -> list[Path]:
    """Writes `days` spans of events and the catalogue under `path`.

    `events/YYYY-MM-DD/events.csv` holds user_id, item_id, timestamp (unix seconds, UTC) and quantity, in the order of
    time; `catalogue/YYYY-MM-DD/items.csv`, of that evening, item_id, title, category and material of what is sold from
    the next morning on, and `items.csv` the first three of every article sold up to the last day. The same arguments
    give the same bytes, and a day does not depend on how many follow it: asking again for more days adds only those.

    Args:
      path: the folder to write into; it need not exist.
      first_day: the day the shop opens.
      days: how many days to write, from the first one on.
      seed: everything drawn at random follows from it.
      events_per_day: the mean of an ordinary day; weekends and promotions bring more.
      users: how many people come on the first day at most.
      items: how many articles the shop opens with.
      new_users_per_day: how many people join on each further day.
      new_items_per_day: how many articles come on each further day.
      turnover: the day, counted from 0, on which `items` articles take the place of all others; None for none.

    Returns:
      The span folders, oldest first.

    Raises:
      ValueError: a number is too small, or `path` holds a span that these arguments would have written differently.
    """
    if days < 1:
        raise ValueError(f"`days` must be at least 1. Received: {days!r}.")
    shop = Shop(events_per_day, users, items, new_users_per_day, new_items_per_day, turnover)
    catalogue = Catalogue(seed)
    folders = []
    for number, day in enumerate(_days(first_day, days, seed, shop, catalogue)):
        folder = path / "events" / day.date.isoformat()
        _write_once(folder / "events.csv", _events_csv(day))
        _write_once(path / "catalogue" / folder.name / "items.csv", _catalogue_csv(catalogue, shop.sold_on(number + 1)))
        folders.append(folder)
    count = sum(shop.items_on(number) for number in range(days))
    _grow_items(path / "items.csv", _items_csv(catalogue, count))
    return folders


def user_id(number: int) -> str:
    """The id of the `number`-th person to come."""
    return f"u{number:05d}"


def item_id(number: int) -> str:
    """The id of the `number`-th article to be sold."""
    return f"i{number:05d}"


class _Crowd:
    """Everybody who has come so far: `activity` [users], `tastes` [users, departments], `styles` [users, styles]."""

    def __init__(self) -> None:
        self.activity: Floats = np.empty(0)
        self.tastes: Floats = np.empty((0, len(DEPARTMENTS)))
        self.styles: Floats = np.empty((0, len(STYLES)))

    def join(self, count: int, rng: np.random.Generator) -> None:
        self.activity = np.append(self.activity, rng.lognormal(0.0, 0.8, count))
        self.tastes = np.vstack([self.tastes, rng.normal(0.0, TASTE_SPREAD, (count, len(DEPARTMENTS)))])
        self.styles = np.vstack([self.styles, rng.normal(0.0, STYLE_SPREAD, (count, len(STYLES)))])

    def drift(self, rng: np.random.Generator) -> None:
        # A random walk that is drawn back to zero, so that tastes change for ever and never grow more pronounced.
        for tastes, spread in ((self.tastes, TASTE_SPREAD), (self.styles, STYLE_SPREAD)):
            tastes *= np.sqrt(1.0 - DRIFT_PER_DAY**2)
            tastes += rng.normal(0.0, spread * DRIFT_PER_DAY, tastes.shape)


def _days(first_day: date, days: int, seed: int, shop: Shop, catalogue: Catalogue) -> Iterator[Day]:
    crowd = _Crowd()
    weekend = np.random.default_rng([seed, 1]).normal(0.0, WEEKEND_SPREAD, len(DEPARTMENTS))
    popularity: Floats = np.empty(0)
    born: Ints = np.empty(0, np.int64)
    bought = np.zeros((0, 0), bool)
    for number in range(days):
        rng = np.random.default_rng([seed, 2, number])
        day = first_day + timedelta(days=number)
        crowd.drift(rng)
        crowd.join(shop.new_users_per_day if number else shop.users, rng)
        arrived = shop.items_on(number)
        popularity = np.append(popularity, rng.normal(0.0, POPULARITY_SPREAD, arrived))
        born = np.append(born, np.full(arrived, number if number else LONG_AGO))
        bought = _grown(bought, len(crowd.activity), len(popularity))

        appeal = popularity + NEWNESS_BONUS * 0.5 ** ((number - born) / NEWNESS_HALF_LIFE_DAYS)
        visits = shop.events_per_day / EVENTS_PER_VISIT
        if shop.turnover is not None and number >= shop.turnover:
            appeal[born < shop.turnover] = -np.inf
        if day.weekday() >= SATURDAY:
            appeal += weekend[catalogue.departments(len(appeal))]
            visits *= WEEKEND_VISITS
        if number % PROMOTION_EVERY == FIRST_PROMOTION:
            appeal += PROMOTION_BONUS * (catalogue.departments(len(appeal)) == rng.integers(len(DEPARTMENTS)))
            visits *= PROMOTION_VISITS
        visitors = rng.choice(len(crowd.activity), max(1, rng.poisson(visits)), p=crowd.activity / crowd.activity.sum())
        users, items, visit = _choices(visitors, crowd, appeal, catalogue, bought, rng)
        bought[users, items] = True
        yield _timed(day, users, items, visit, rng)


def _choices(
    visitors: Ints, crowd: _Crowd, appeal: Floats, catalogue: Catalogue, bought: npt.NDArray[np.bool_],
    rng: np.random.Generator,
) -> tuple[Ints, Ints, Ints]:  # fmt: skip
    """What the visitors take: user, item and visit number of each event, shape `[events]`, the visits one by one."""
    departments, styles = catalogue.departments(len(appeal)), catalogue.styles(len(appeal))
    taken = np.minimum(1 + rng.poisson(EVENTS_PER_VISIT - 1.0, len(visitors)), np.isfinite(appeal).sum())
    users, items, visits = [], [], []
    for start in range(0, len(visitors), VISITS_AT_ONCE):
        some, sizes = visitors[start : start + VISITS_AT_ONCE], taken[start : start + VISITS_AT_ONCE]
        score = appeal + crowd.tastes[some][:, departments] + crowd.styles[some][:, styles]
        score += ALREADY_BOUGHT * bought[some]
        # The largest of scores with Gumbel noise are a draw without replacement from their softmax (Vieira, 2014).
        score += rng.gumbel(size=score.shape)
        order = np.argsort(-score, axis=1, kind="stable")
        for row, size in enumerate(sizes):
            users.append(np.full(size, some[row]))
            items.append(order[row, :size])
            visits.append(np.full(size, start + row))
    return np.concatenate(users), np.concatenate(items), np.concatenate(visits)


def _timed(day: date, users: Ints, items: Ints, visit: Ints, rng: np.random.Generator) -> Day:
    # Two humps, at noon and in the evening.
    noon = rng.random(visit[-1] + 1) < 0.35
    start = np.where(noon, rng.normal(12.5, 1.5, len(noon)), rng.normal(19.5, 2.0, len(noon))) * 3600
    first = np.append(True, visit[1:] != visit[:-1])
    gaps = np.where(first, 0.0, 1.0 + rng.exponential(SECONDS_BETWEEN_EVENTS, len(visit)))
    elapsed = np.cumsum(gaps)
    elapsed -= elapsed[first][visit]
    seconds = np.clip(start[visit] + elapsed, 0, SECONDS_PER_DAY - 1).astype(np.int64)
    order = np.argsort(seconds, kind="stable")
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp())
    quantities = rng.geometric(0.7, len(users))
    return Day(day, users[order], items[order], midnight + seconds[order], quantities[order])


def _grown(table: npt.NDArray[np.bool_], rows: int, columns: int) -> npt.NDArray[np.bool_]:
    return np.pad(table, ((0, rows - table.shape[0]), (0, columns - table.shape[1])))


def _events_csv(day: Day) -> str:
    return _csv(
        ("user_id", "item_id", "timestamp", "quantity"),
        (
            (user_id(user), item_id(item), str(timestamp), str(quantity))
            for user, item, timestamp, quantity in zip(
                day.users.tolist(), day.items.tolist(), day.timestamps.tolist(), day.quantities.tolist(), strict=True
            )
        ),
    )


def _items_csv(catalogue: Catalogue, count: int) -> str:
    return _csv(
        ("item_id", "title", "category"),
        ((item_id(number), catalogue.title(number), catalogue.category(number)) for number in range(count)),
    )


def _catalogue_csv(catalogue: Catalogue, sold: Iterable[int]) -> str:
    return _csv(
        ("item_id", "title", "category", "material"),
        (
            (item_id(number), catalogue.title(number), catalogue.category(number), catalogue.material(number))
            for number in sold
        ),
    )


def _csv(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _write_once(file: Path, text: str) -> None:
    if file.exists():
        if file.read_text(encoding="utf-8") != text:
            raise ValueError(
                f"{file} must be what this simulation writes. Received: another shop's {file.stem}. Choose an empty "
                "folder, or the seed, first day and sizes that the folder was made with."
            )
        return
    _write(file, text)


def _grow_items(file: Path, text: str) -> None:
    # A shorter run over a longer one's folder leaves the longer catalogue in place.
    if not file.exists() or len(file.read_text(encoding="utf-8")) < len(text):
        _write(file, text)


def _write(file: Path, text: str) -> None:
    with atomic_write(file, durable=True) as beside, beside.open("w", encoding="utf-8", newline="") as out:
        out.write(text)
