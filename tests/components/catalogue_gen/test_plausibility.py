"""A feature that is wrong tonight: the day stops with a sentence, and nothing of it is taken in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.catalogue_gen.settings import CatalogueError
from tests.components.catalogue_gen.catalogue_days import Day, deliver, run, settings
from trainer.features.declaration import Feature

FEATURES = (
    Feature(name="kind", kind="category"),
    Feature(name="tags", kind="categories"),
    Feature(name="price", kind="number"),
    Feature(name="listed", kind="time", unit="s"),
    Feature(name="title", kind="text", encoder="tiny"),
)
HEADER = "sku,kind,tags,price,listed,title\n"
ONE, TWO = "2024-05-01", "2024-05-02"
Row = dict[str, str]


def shop(count: int = 40) -> list[Row]:
    return [
        {
            "sku": f"i{n}", "kind": ("lamp", "desk", "rug")[n % 3], "tags": "wood|new" if n % 2 else "oak",
            "price": f"{5 + n}.50", "listed": f"{1_700_000_000 + n}", "title": f"{'Desk' if n % 8 else 'Café'} {n}",
        }
        for n in range(count)
    ]  # fmt: skip


def two_days(tmp_path: Path, change: Callable[[Row], Row], count: int = 40, **words) -> Day:
    for day, rows in ((ONE, shop(count)), (TWO, [change(row) for row in shop(count)])):
        deliver(tmp_path / "files", day, [",".join(row.values()) for row in rows], HEADER)
    of = settings(tmp_path / "files", features=FEATURES, max_changed_fraction=0.5, **words)
    return run(of, TWO, tmp_path, run(of, ONE, tmp_path))


def changed(**values: Callable[[str], str]) -> Callable[[Row], Row]:
    return lambda row: {name: values.get(name, str)(value) for name, value in row.items()}


SICK = {
    "empty": (changed(kind=lambda _: ""), "of 40 items with `kind` 40 have lost it"),
    "empty numbers": (changed(price=lambda _: "null"), "of 40 items with `price` 40 have lost it"),
    "in cents": (changed(price=lambda price: f"{float(price) * 100:.0f}"), "`price` of 40 items is 100 times"),
    "in thousands": (changed(price=lambda price: f"{float(price) / 1000}"), "`price` of 40 items is 0.001 times"),
    "in milliseconds": (changed(listed=lambda time: f"{time}000"), "of 40 items with `listed` 40 have lost it"),
    "other words": (changed(kind=lambda kind: f"cat_{kind}"), "of 40 items with `kind` 40 have another"),
    "another separator": (changed(tags=lambda tags: tags.replace("|", ";") + ";"), "with `tags` 40 have another"),
    "as Latin-1": (
        changed(title=lambda title: title.encode().decode("latin-1")), "`title` of 5 items is what it was, in another"
    ),
    "as question marks": (changed(title=lambda title: title.replace("é", "?")), "`title` of 5 items is what it was"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SICK)
def test_a_feature_that_is_wrong_tonight_stops_the_day(tmp_path, kind):
    change, words = SICK[kind]
    with pytest.raises(CatalogueError, match="Nothing was taken in") as raised:
        two_days(tmp_path, change)
    assert words in str(raised.value)
    assert "`catalogue.max_changed_fraction`" in str(raised.value)


HEALTHY = {
    "as it was": changed(),
    "a sale": changed(price=lambda price: f"{float(price) * 0.5}"),
    "some without": lambda row: {**row, "kind": "" if row["sku"] < "i2" else row["kind"]},
    "some moved": lambda row: {**row, "kind": "sofa" if row["sku"] < "i2" else row["kind"]},
    "a price that was mended": lambda row: {**row, "price": "0.10" if row["sku"] == "i7" else row["price"]},
}


@pytest.mark.parametrize("kind", HEALTHY)
def test_what_a_shop_does_overnight_is_taken_in(tmp_path, kind):
    day = two_days(tmp_path, HEALTHY[kind])
    assert day.balance_holds
    assert len(day.sold) == 40


def test_a_day_can_be_let_in_and_a_few_items_say_nothing(tmp_path):
    change = SICK["in cents"][0]
    assert two_days(tmp_path / "few", change, count=19).items["i0"]["price"] == 550.0
    of = settings(tmp_path / "files", features=FEATURES, max_changed_fraction=1.0)
    for day, rows in ((ONE, shop()), (TWO, [change(row) for row in shop()])):
        deliver(tmp_path / "files", day, [",".join(row.values()) for row in rows], HEADER)
    assert run(of, TWO, tmp_path, run(of, ONE, tmp_path)).items["i0"]["price"] == 550.0


def test_of_changes_all_that_comes_is_other_than_before(tmp_path):
    assert two_days(tmp_path, SICK["other words"][0], delivery="changes").items["i0"]["kind"] == "cat_lamp"
    with pytest.raises(CatalogueError, match="of 40 items with `kind` 40 have lost it"):
        two_days(tmp_path / "lost", SICK["empty"][0], delivery="changes")


def test_what_is_read_in_another_way_is_not_taken_for_another_value(tmp_path):
    files = tmp_path / "files"
    deliver(files, ONE, [",".join(row.values()) for row in shop()], HEADER)
    of = settings(files, features=FEATURES, max_changed_fraction=0.5)
    first = run(of, ONE, tmp_path)
    kinds = (Feature(name="kind", kind="category", pattern="^(.)"), *FEATURES[1:])
    again = run(settings(files, features=kinds, max_changed_fraction=0.5), TWO, tmp_path, first)
    assert again.items["i0"]["kind"] == "l"


@given(st.lists(st.sampled_from(["é", "ü", "ß", "ñ", "a", " "]), min_size=1).map("".join))
def test_a_text_and_what_another_encoding_makes_of_it_are_told_from_other_texts(text):
    from components.catalogue_gen.plausibility import _garbled

    seen = _garbled(text)
    assert text not in seen
    assert (text.encode().decode("latin-1") in seen) == (not text.isascii())
