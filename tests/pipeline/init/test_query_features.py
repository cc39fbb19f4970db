"""Columns of the events that `init` proposes as features of the context, as comments."""

from __future__ import annotations

from datetime import date

from pipeline.config import load_config
from pipeline.init.write_config import write_config
from tests.pipeline.init.day_files import Rows, rows_of, write_days


def with_columns(day: date) -> Rows:
    rows = rows_of(day)
    return [
        {
            **row,
            "Device type": ("tv", "phone", "")[place % 3],
            "share": f"{place / 7:.3f}",
            "note": f"a text, {day} {place}",
        }
        for place, row in enumerate(rows)
    ]


def test_columns_that_are_not_the_event_itself_are_proposed(tmp_path):
    write_days(tmp_path / "events", "%Y-%m-%d/events.csv", with_columns)
    out = tmp_path / "shop.yaml"
    guesses = {guess.setting: guess.why for guess in write_config(tmp_path / "events", out)}
    proposed = guesses["features.context"]
    assert (
        "- {name: Device_type, kind: category, column: Device type}  # 2 words, such as tv, phone, 39 missing"
        in proposed
    )
    assert "- {name: share, kind: number}  # 0 to " in proposed
    for name in ("user_id", "item_id", "timestamp", "note"):
        assert f"name: {name}" not in proposed
    text = out.read_text()
    assert "Device_type" in text
    assert load_config(out).features.of_query == ()


def test_without_any_nothing_is_proposed(tmp_path):
    write_days(tmp_path / "events", "%Y-%m-%d/events.csv")
    guesses = {guess.setting for guess in write_config(tmp_path / "events", tmp_path / "shop.yaml")}
    assert "features.context" not in guesses
