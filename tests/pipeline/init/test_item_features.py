"""`init` finds what could be the catalogue and proposes its columns, with examples, without deciding anything."""

from __future__ import annotations

import pyarrow as pa
import pytest
import yaml

from pipeline.config import load_config
from pipeline.init.item_features import propose, propose_text
from pipeline.init.sample import Column
from pipeline.init.template import scalar
from pipeline.init.write_config import write_config
from tests.pipeline.init.day_files import Rows, write_csv, write_days

ITEMS: Rows = [
    {
        "item_id": f"00{row}",
        "title": f"Film {row} ({1990 + row % 9})",
        "genres": "|".join(("Drama", "War", "Crime")[: 1 + row % 3]),
        "maker": ("acme", "bolt")[row % 2] if row else "",
        "price": f"{row / 4}",
    }
    for row in range(40)
]


def proposed(text: str) -> list[dict]:
    """The features that stand as comments in a settings file."""
    entries = [line.strip().removeprefix("# - ") for line in text.splitlines() if line.strip().startswith("# - {")]
    return [yaml.safe_load(entry.partition("  # ")[0]) for entry in entries]


def test_a_file_beside_the_events_is_proposed_with_its_columns(tmp_path):
    write_days(tmp_path / "events", "%Y-%m-%d/events.csv")
    write_csv(tmp_path / "items.csv", ITEMS)
    out = tmp_path / "shop.yaml"
    guesses = {guess.setting: guess for guess in write_config(tmp_path / "events", out)}
    assert guesses["catalogue"].value is None
    assert "`catalogue: {path: items.csv, pattern: null}`" in guesses["catalogue"].why
    assert load_config(out).catalogue is None
    assert proposed(out.read_text()) == [
        {"name": "title", "kind": "text"},
        {"name": "year", "kind": "number", "column": "title", "pattern": r"\(((?:18|19|20)\d\d)\)"},
        {"name": "genres", "kind": "categories"},
        {"name": "maker", "kind": "category"},
        {"name": "price", "kind": "number"},
    ]
    assert "# - {name: genres, kind: categories}  # 3 words, such as Drama, War, Crime" in out.read_text()
    assert "# with an encoder, and `pip install warmspan[text]`, these could be" in out.read_text()
    assert "# 2 words, such as bolt, acme, 1 missing" in out.read_text()


def test_what_is_proposed_can_be_taken_as_it_is(tmp_path):
    write_days(tmp_path / "events", "%Y-%m-%d/events.csv")
    write_csv(tmp_path / "items.csv", ITEMS)
    out = tmp_path / "shop.yaml"
    write_config(tmp_path / "events", out)
    text, features = out.read_text(), proposed(out.read_text())[1:]
    text = text.replace("\ncatalogue: null\n", "\ncatalogue: {path: items.csv, pattern: null}\n")
    out.write_text(text.replace("\n  item: []\n", f"\n  item: {scalar(features)}\n"))
    config = load_config(out)
    assert [feature.kind for feature in config.features.item] == ["number", "categories", "category", "number"]


def test_a_folder_of_deliveries_beside_the_events_is_found(tmp_path):
    write_days(tmp_path / "events", "%Y-%m-%d/events.csv")
    write_days(tmp_path / "offers", "%Y-%m-%d/offers.csv", lambda day: ITEMS, days=2)
    write_days(tmp_path / "returns", "%Y-%m-%d/returns.csv")
    guesses = {guess.setting: guess.why for guess in write_config(tmp_path / "events", tmp_path / "shop.yaml")}
    assert guesses["catalogue"] == (
        "2 deliveries with the column item_id could be it: "
        "`catalogue: {path: offers, pattern: '{YYYY}-{MM}-{DD}/*.csv'}`"
    )


def test_without_any_nothing_is_proposed(tmp_path):
    write_days(tmp_path / "events", "%Y-%m-%d/events.csv")
    write_csv(tmp_path / "shops.csv", [{"shop": "1"}])
    settings = {guess.setting for guess in write_config(tmp_path / "events", tmp_path / "shop.yaml")}
    assert not settings & {"catalogue", "features.item"}


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        (["same"] * 9, []),
        ([f"a text of its own, {n}" for n in range(90)], []),
        ([f"{n % 5}" for n in range(90)], ["category"]),
        ([f"{n}" for n in range(90)], ["number"]),
        (["1.5", "2.5", "n/a-1"] + ["3.5"] * 30, ["number"]),
        ([f"2024-05-0{1 + n % 9}" for n in range(30)], ["time"]),
        (["red, blue", "blue", "red, green"] * 9, ["categories"]),
    ],
)
def test_what_a_column_could_be(values, kinds):
    column = Column("my column", (pa.array(values),))
    proposals = [proposal.declared for proposal in propose(column)]
    assert [declared["kind"] for declared in proposals] == kinds
    assert all((declared["name"], declared["column"]) == ("my_column", "my column") for declared in proposals)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([f"a text of its own, {n}" for n in range(90)], True),
        ([f"Ein Stück Nr. {n}" for n in range(90)] + ["Tisch"], True),
        (["two words", "three words more"] * 30, False),
        ([f"word{n}" for n in range(90)], False),
        ([f"2024-05-01 {n:02}:00" for n in range(24)], False),
        ([f"{n} 7" for n in range(90)], False),
    ],
)
def test_a_text_has_several_words_and_is_of_few_items(values, text):
    proposals = [proposal.declared for proposal in propose_text(Column("title", (pa.array(values),)))]
    assert proposals == ([{"name": "title", "kind": "text"}] if text else [])
