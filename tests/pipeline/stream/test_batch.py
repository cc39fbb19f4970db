"""Mini-batches of landed files: what ingestion makes of their rows, in parts, each once."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from components.span_example_gen.settings import Settings, make_settings
from pipeline.config.data import Data
from pipeline.stream.batch import Batch, Batches
from pipeline.stream.journal import Entry, Journal
from pipeline.stream.landed import LandedFile

SPAN = 19_845  # 2024-05-02
START = SPAN * 86_400


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    data = Data.model_validate({"path": tmp_path, "columns": {"key": "user", "item": "item", "timestamp": "time"}})
    return make_settings(data.model_dump(mode="json"), data.pattern, 0.1)


def landed(folder: Path, name: str, rows: list[str], span: int = SPAN) -> LandedFile:
    path = folder / name
    path.write_text("\n".join(["user,item,time", *rows]) + "\n")
    return LandedFile(span, name, str(path), f"digest of {rows}")


def row(number: int, at: int | None = None) -> str:
    return f"u{number},i{number},{START + (number if at is None else at)}"


def with_batch(journal: Journal, batch: Batch) -> Journal:
    return journal.with_entry(Entry(len(journal.entries) + 1, 0.0, batch.parts, 0, 0, 0, "learned"))


def items(batch: Batch) -> list[str]:
    return [item.decode() for item in batch.events["item"].to_pylist()]


def test_a_large_file_is_taken_in_parts_and_its_balance_stands_with_the_first(settings, tmp_path):
    rows = [*(row(number) for number in (3, 1, 2, 5, 4)), row(3), "u9,,1", "u9,i9,77"]
    settings = dataclasses.replace(settings, max_reject_fraction=0.5)
    file, batches, journal = landed(tmp_path, "a.csv", rows), Batches(settings, 2), Journal("any", 1)
    taken = []
    for expected in (["i1", "i2"], ["i3", "i4"], ["i5"]):
        batch = batches.next([file], journal)
        assert items(batch) == expected
        journal = with_batch(journal, batch)
        taken += batch.parts
    assert [(part.begin, part.end, part.events) for part in taken] == [(0, 2, 5), (2, 4, 5), (4, 5, 5)]
    assert [part.rows for part in taken] == [8, 0, 0]
    assert [part.duplicates for part in taken] == [1, 0, 0]
    assert taken[0].rejects == {"no_item": 1, "outside_span": 1}
    assert (journal.offset("a.csv"), journal.unfinished()) == (5, set())
    # Another process reads on where this one stopped.
    begun = with_batch(Journal("any", 1), Batches(settings, 2).next([file], Journal("any", 1)))
    assert begun.unfinished() == {"a.csv"}
    assert items(Batches(settings, 2).next([file], begun)) == ["i3", "i4"]


def test_several_files_of_one_span_are_one_mini_batch_in_the_order_of_their_times(settings, tmp_path):
    files = [
        landed(tmp_path, "a.csv", [row(4), row(2)]),
        landed(tmp_path, "b.csv", [row(3), row(1)]),
        landed(tmp_path, "c.csv", [row(4), row(2)]),
        landed(tmp_path, "d.csv", [row(1, 86_400)], SPAN + 1),
    ]
    batch = Batches(settings, 100).next(files, Journal("any", 1))
    assert items(batch) == ["i1", "i2", "i3", "i4"]
    assert [(part.name, part.refused) for part in batch.parts] == [
        ("a.csv", ""), ("b.csv", ""), ("c.csv", "The same as a.csv."),
    ]  # fmt: skip
    journal = with_batch(Journal("any", 1), batch)
    assert journal.read().keys() == {"a.csv", "b.csv", "c.csv"}


def test_a_file_that_ingestion_would_refuse_is_passed_over_and_said_so(settings, tmp_path, caplog):
    broken = landed(tmp_path, "a.csv", [row(1), "u,,1", "u,,2"])
    strange = LandedFile(SPAN, "b.csv", str(tmp_path / "b.csv"), "b")
    (tmp_path / "b.csv").write_text("who,what\nu,i\n")
    batch = Batches(settings, 100).next([broken, strange], Journal("any", 1))
    assert items(batch) == []
    assert all(part.whole and part.refused for part in batch.parts)
    assert "data.max_reject_fraction" in batch.parts[0].refused
    assert "2 of 3 (" in batch.parts[0].refused
    assert len(caplog.records) == 2
