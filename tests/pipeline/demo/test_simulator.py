import csv
from collections import Counter
from datetime import date, datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from pipeline.demo.catalogue import DEPARTMENTS, STYLES, VARIANTS, Catalogue
from pipeline.demo.simulator import simulate

THURSDAY = date(2024, 5, 2)


def read(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve days of the shop as `warmspan demo` opens it."""
    path = tmp_path_factory.mktemp("shop")
    simulate(path, THURSDAY, 12, seed=1)
    return path


@pytest.fixture(scope="module")
def days(shop: Path) -> list[list[dict[str, str]]]:
    return [read(file) for file in sorted(shop.glob("events/*/events.csv"))]


@pytest.fixture(scope="module")
def category(shop: Path) -> dict[str, str]:
    return {row["item_id"]: row["category"] for row in read(shop / "items.csv")}


def test_files_have_the_promised_form(shop, days):
    folders = sorted(folder.name for folder in (shop / "events").iterdir())
    assert folders == [f"2024-05-{day:02d}" for day in range(2, 14)]
    dated = {file.format(folder) for folder in folders for file in ("events/{}/events.csv", "catalogue/{}/items.csv")}
    assert set(contents(shop)) == dated | {"items.csv"}
    items = read(shop / "items.csv")
    assert list(items[0]) == ["item_id", "title", "category"]
    assert len({row["title"] for row in items}) == len(items) == 400 + 11 * 12
    known = {row["item_id"] for row in items}
    for folder, events in zip(folders, days, strict=True):
        assert list(events[0]) == ["user_id", "item_id", "timestamp", "quantity"]
        assert 2000 < len(events) < 6500
        times = [int(row["timestamp"]) for row in events]
        assert times == sorted(times)
        assert {datetime.fromtimestamp(time, timezone.utc).date().isoformat() for time in times} == {folder}
        assert all(row["item_id"] in known and int(row["quantity"]) >= 1 for row in events)
        assert len({tuple(row.values()) for row in events}) == len(events)


def test_the_same_arguments_give_the_same_bytes_and_a_seed_its_own_shop(tmp_path):
    for name, seed in (("one", 5), ("two", 5), ("other", 6)):
        simulate(tmp_path / name, THURSDAY, 2, seed=seed, events_per_day=300)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert not set(contents(tmp_path / "one").values()) & set(contents(tmp_path / "other").values())


def test_a_day_does_not_depend_on_how_many_follow(tmp_path):
    spans = simulate(tmp_path / "grown", THURSDAY, 2, seed=5, events_per_day=300)
    before = spans[0].joinpath("events.csv").stat().st_mtime_ns
    spans = simulate(tmp_path / "grown", THURSDAY, 4, seed=5, events_per_day=300)
    simulate(tmp_path / "at_once", THURSDAY, 4, seed=5, events_per_day=300)
    assert contents(tmp_path / "grown") == contents(tmp_path / "at_once")
    assert spans[0].joinpath("events.csv").stat().st_mtime_ns == before
    simulate(tmp_path / "grown", THURSDAY, 1, seed=5, events_per_day=300)
    assert contents(tmp_path / "grown") == contents(tmp_path / "at_once")


def test_another_shops_folder_is_left_alone(tmp_path):
    simulate(tmp_path, THURSDAY, 1, seed=5, events_per_day=300)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"events\.csv must be what this simulation writes.*Choose an empty folder"):
        simulate(tmp_path, THURSDAY, 1, seed=6, events_per_day=300)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "value"), [("days", 0), ("events_per_day", 0), ("items", 0), ("new_users_per_day", -1)]
)
def test_a_shop_in_which_nothing_happens_is_refused(tmp_path, name, value):
    with pytest.raises(ValueError, match=rf"`{name}` must be at least \d. Received: {value}\."):
        simulate(tmp_path, THURSDAY, **{"days": 1, "seed": 1, name: value})
    assert not list(tmp_path.iterdir())


def test_a_tiny_shop_works(tmp_path):
    (span,) = simulate(tmp_path, THURSDAY, 1, seed=1, events_per_day=1, users=1, items=1, new_users_per_day=0)
    assert read(span / "events.csv")


def test_every_day_brings_new_items_and_new_users(days):
    for column, at_least in (("item_id", 6), ("user_id", 5)):
        seen = {row[column] for row in days[0]}
        for events in days[1:]:
            today = {row[column] for row in events}
            assert len(today - seen) >= at_least
            seen |= today


def test_one_night_everything_is_exchanged(tmp_path):
    sizes = {"events_per_day": 200, "users": 40, "items": 30, "new_items_per_day": 3}
    simulate(tmp_path / "turned", THURSDAY, 6, seed=1, turnover=3, **sizes)
    simulate(tmp_path / "steady", THURSDAY, 6, seed=1, **sizes)
    turned, steady = (
        [read(file) for file in sorted((tmp_path / name).glob("events/*/events.csv"))] for name in ("turned", "steady")
    )
    assert turned[:3] == steady[:3], "what comes later changes nothing before it"
    before, after = ({row["item_id"] for day in days for row in day} for days in (turned[:3], turned[3:]))
    assert len(before) > 30
    assert len(after) > 30
    assert not before & after
    assert {row["user_id"] for row in turned[2]} & {row["user_id"] for row in turned[3]}, "the people stay"
    assert len(read(tmp_path / "turned" / "items.csv")) == 30 + 2 * 3 + 30 + 2 * 3
    with pytest.raises(ValueError, match="`turnover` must be at least 1"):
        simulate(tmp_path / "none", THURSDAY, 2, seed=1, turnover=0)


def test_some_items_sell_far_better_than_others(days):
    counts = sorted(Counter(row["item_id"] for events in days for row in events).values(), reverse=True)
    assert sum(counts[: len(counts) // 10]) > 0.25 * sum(counts)


def shares(events: list[dict[str, str]], category: dict[str, str]) -> np.ndarray:
    counts = Counter(category[row["item_id"]] for row in events)
    return np.array([counts[name] / len(events) for name in DEPARTMENTS])


def test_weekends_are_busier_and_of_another_taste(days, category):
    # Thursday first: days 2, 3 and 9, 10 are weekends, day 3 has the promotion too.
    ordinary, weekend = [0, 1, 4, 5, 6, 7, 8, 11], [2, 9, 10]
    assert min(len(days[day]) for day in weekend) > max(len(days[day]) for day in ordinary)
    usual = np.mean([shares(days[day], category) for day in ordinary], axis=0)
    apart = {day: np.abs(shares(days[day], category) - usual).sum() for day in ordinary + weekend}
    assert min(apart[day] for day in weekend) > max(apart[day] for day in ordinary)


def test_the_promotion_fills_one_department(days, category):
    largest = [shares(events, category).max() for events in days]
    assert largest[3] > 0.4 > max(share for day, share in enumerate(largest) if day != 3)


def test_tastes_drift(tmp_path):
    """What a person liked yesterday says more of today than what the same person liked a month ago."""
    spans = simulate(
        tmp_path,
        THURSDAY,
        36,
        seed=2,
        users=60,
        items=300,
        new_users_per_day=0,
        new_items_per_day=0,
        events_per_day=1200,
    )
    category = {row["item_id"]: row["category"] for row in read(tmp_path / "items.csv")}
    row_of = {name: row for row, name in enumerate(DEPARTMENTS)}
    profiles = np.zeros((len(spans), 60, len(DEPARTMENTS)))
    for day, span in enumerate(spans):
        for event in read(span / "events.csv"):
            profiles[day, int(event["user_id"][1:]), row_of[category[event["item_id"]]]] += 1
    profiles /= np.maximum(profiles.sum(axis=2, keepdims=True), 1)
    profiles -= profiles.mean(axis=1, keepdims=True)

    def likeness(gap: int) -> float:
        return float((profiles[gap:] * profiles[:-gap]).sum(axis=2).mean())

    assert likeness(1) > 1.3 * likeness(28) > 0


def test_there_is_something_to_learn(days, category):
    """Knowing a person's departments beats popularity by half at recall@20, both among items not bought yet."""
    past, today = [row for events in days[:8] for row in events], days[8]
    popularity = Counter(row["item_id"] for row in past)
    items = list(popularity)
    counts = np.array([popularity[item] for item in items], float)
    departments = np.array([list(DEPARTMENTS).index(category[item]) for item in items])
    usual = shares(past, category)
    history: dict[str, list[str]] = {}
    for row in past:
        history.setdefault(row["user_id"], []).append(row["item_id"])
    row_of = {item: row for row, item in enumerate(items)}

    hits = {"popularity": 0, "affinity": 0}
    for event in today:
        seen = [row_of[item] for item in history.get(event["user_id"], [])]
        liked = np.bincount(departments[seen], minlength=len(DEPARTMENTS)) if seen else np.zeros(len(DEPARTMENTS))
        affinity = (liked + 3 * usual) / (len(seen) + 3) / usual
        for name, scores in (("popularity", counts.copy()), ("affinity", counts * affinity[departments])):
            scores[seen] = 0
            hits[name] += event["item_id"] in {items[row] for row in np.argsort(-scores)[:20]}
    assert hits["affinity"] > 1.5 * hits["popularity"] > 0


def test_titles_never_run_out():
    catalogue = Catalogue(seed=3)
    plain = sum(len(nouns) * sum(map(len, materials)) for nouns, materials in DEPARTMENTS.values())
    count = plain * len(VARIANTS) + 10
    titles = [catalogue.title(number) for number in range(count)]
    assert len(set(titles)) == count
    assert titles[-1].endswith(", edition 2")
    assert catalogue.category(plain) == catalogue.category(0)
    assert set(catalogue.styles(count).tolist()) == set(range(len(STYLES)))


def test_an_evening_s_catalogue_names_what_is_sold_the_next_day(tmp_path):
    sizes = {"events_per_day": 300, "items": 50, "new_items_per_day": 4}
    simulate(tmp_path, THURSDAY, 5, seed=1, turnover=3, **sizes)
    listed = [{row["item_id"] for row in read(file)} for file in sorted(tmp_path.glob("catalogue/*/items.csv"))]
    assert [len(day) for day in listed] == [54, 58, 50, 54, 58]
    assert listed[0] < listed[1]
    assert not listed[1] & listed[2]
    assert listed[2] < listed[3] < listed[4]
    for evening, file in zip(listed, sorted(tmp_path.glob("events/*/events.csv"))[1:], strict=False):
        assert {row["item_id"] for row in read(file)} <= evening
    first = read(tmp_path / "catalogue" / "2024-05-02" / "items.csv")
    assert all(row["title"].startswith(row["material"]) for row in first)
    assert len({row["material"] for row in first}) > 10
