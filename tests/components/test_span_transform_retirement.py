"""Who is too old, or one too many, leaves: counted, with what is kept of him, and never before his time."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.catalogue_gen.state import save_table, state_schema
from components.span_transform import Settings, history
from components.span_transform.retirement import count_retired, retired, without_retired
from components.span_transform.vocabulary_growth import Vocabularies
from tests.components.span_transform_days import folders, read_sequences, run_beam, write_events
from tests.components.span_transform_reference import Event
from trainer.vocabulary import Vocabulary

DAY = 86_400_000
KEPT = Settings(5, 1, 1, 1, 7.0, 5, 0.5)
ids = st.lists(st.sampled_from([f"{number}" for number in range(30)]), max_size=12)


def grown(days: list[list[str]], max_age: int | None, max_rows: int | None, min_count: int = 1) -> list[Vocabulary]:
    every = [Vocabulary.empty(1)]
    for span, come in enumerate(days):
        every.append(without_retired(every[-1].grow(come, span, min_count, 7.0), max_age, max_rows, 7.0))
    return every


@given(st.lists(ids, max_size=8), st.integers(1, 4), st.integers(1, 20), st.integers(1, 2))
def test_there_are_no_more_rows_than_may_be_and_those_asked_for_least_leave(days, max_age, max_rows, min_count):
    yesterday = Vocabulary.empty(1)
    for span, come in enumerate(days):
        whole = yesterday.grow(come, span, min_count, 7.0)
        today = without_retired(whole, max_age, max_rows, 7.0)
        stays = whole.rows_of(whole.ids, 0) > 0
        stays &= np.isin(np.array(whole.ids.to_pylist(), object), np.array(today.ids.to_pylist(), object))
        old = whole.last_span < span - max_age
        assert len(today.ids) <= max_rows
        assert len(today.pending) <= max_rows
        assert count_retired(today, whole) == (~stays).sum()
        assert (stays & old).sum() <= 0.1 * len(whole.ids)
        if len(whole.ids) <= max_rows and old.sum() <= 0.1 * len(whole.ids):
            assert stays.all()
        assert whole.recent[~stays & ~old].max(initial=0) <= whole.recent[stays].min(initial=np.inf)
        yesterday = today


@given(st.lists(ids, min_size=1, max_size=8))
def test_without_limits_nobody_leaves(days):
    for before, today in zip(grown(days, None, None), grown(days, None, None)[1:], strict=False):
        assert count_retired(today, before) == 0
        assert today.numbers is None


def test_who_stays_is_never_retired_and_counts_as_a_row():
    vocabulary = Vocabulary.empty(1).grow([*"abcdef"], 0, 1, 7.0).grow([*"fgh"], 9, 1, 7.0)
    stay = np.array([id_ in (b"a", b"b") for id_ in vocabulary.ids.to_pylist()])
    left = without_retired(vocabulary, 3, None, 7.0, stay).ids.to_pylist()
    assert left == [b"a", b"b", b"f", b"g", b"h"]
    assert without_retired(vocabulary, None, 4, 7.0, stay).ids.to_pylist() == [b"a", b"b", b"f"]


def test_a_row_is_taken_from_those_asked_for_least_and_a_tenth_is_left_free():
    vocabulary = Vocabulary.empty(1).grow([f"{at}" for at in range(20) for _ in range(at + 1)], 0, 1, 7.0)
    left = without_retired(vocabulary, None, 10, 7.0)
    assert left.ids.to_pylist() == [b"%d" % at for at in range(11, 20)]
    assert left.grow(["new"], 1, 1, 7.0).size == 2 + 10


def test_what_waits_is_forgotten_in_time():
    vocabulary = Vocabulary.empty(1)
    for span, come in enumerate(["a", "b", "b", "c", "d"]):
        vocabulary = without_retired(vocabulary.grow([come], span, 3, 7.0), 2, None, 7.0)
    assert vocabulary.pending["id"].to_pylist() == [b"b", b"c", b"d"]
    assert without_retired(vocabulary, None, 2, 7.0).pending["id"].to_pylist() == [b"b", b"d"]


def day(number: int) -> dict[str, list[Event]]:
    """Two keys and two items of the day's own, and a pair that goes on for good."""

    def event(key: str, item: str, minutes: int) -> Event:
        return Event(key.encode(), item.encode(), number * DAY + minutes * 60_000, 1.0)

    train = [event(f"a{number}", f"x{number}", 1), event(f"b{number}", "y", 2), event("long", "z", 3)]
    return {"train": train, "eval": [event(f"b{number}", f"x{number}", 50)]}


def run(root: Path, settings: Settings, days: int, shards: int = 1) -> None:
    for number in range(1, days + 1):
        files = {split: write_events(root / f"events-{number}", split, [rows]) for split, rows in day(number).items()}
        run_beam(files, shards, number, folders(root, number, number - 1 if number > 1 else None), settings)


@pytest.mark.parametrize("shards", [1, 2])
def test_with_an_id_goes_its_history_and_what_the_days_wrote_can_be_read_for_good(tmp_path, shards):
    run(tmp_path, dataclasses.replace(KEPT, item_max_age=2, key_max_age=2), 8, shards)
    items, keys = (Vocabulary.load(tmp_path / "vocabulary" / "8", name) for name in ("items", "keys"))
    # What a day holds out is learned on the next: the last that was heard of x5 and b5 is of day 6.
    assert set(items.ids.to_pylist()) == {b"y", b"z", b"x5", b"x6", b"x7", b"x8"}
    kept = {
        key
        for path in history.shards_in(tmp_path / "history" / "8")
        for key in history.read_file(path)["key"].to_pylist()
    }
    assert kept == set(keys.ids.to_pylist()) == {b"long", b"a6", b"a7", b"a8", b"b5", b"b6", b"b7", b"b8"}
    for number in range(1, 9):
        then = [Vocabulary.load(tmp_path / "vocabulary" / str(number), name) for name in ("items", "keys")]
        for sequence in read_sequences(tmp_path / "sequences" / str(number)):
            rows = then[0].row_numbers.rows_of(sequence.items)
            written = then[0].ids_of(rows).to_pylist()
            now = items.ids_of(items.row_numbers.rows_of(sequence.items)).to_pylist()
            known = items.ids.to_pylist()
            assert [id_ if id_ in known else None for id_ in written] == now


def test_the_state_stops_growing(tmp_path):
    run(tmp_path, dataclasses.replace(KEPT, max_items=6, max_keys=6), 12)
    for number in range(1, 13):
        for name in ("items", "keys"):
            assert len(Vocabulary.load(tmp_path / "vocabulary" / str(number), name).ids) <= 6
        assert history.counts_in(tmp_path / "history" / str(number)).keys <= 6 + 2


def test_an_item_for_sale_stays(tmp_path):
    rows = [{"item": b"a", "since": 0, "changed": 0, "withdrawn": False}]
    rows += [{"item": b"b", "since": 0, "changed": 0, "withdrawn": True}]
    save_table(pa.Table.from_pylist(rows, schema=state_schema([])), tmp_path)
    items = Vocabulary.empty(1).grow([*"abc"], 0, 1, 7.0).grow(["c"], 9, 1, 7.0)
    today = retired(Vocabularies(items, Vocabulary.empty(1)), str(tmp_path), dataclasses.replace(KEPT, item_max_age=3))
    assert today.items.ids.to_pylist() == [b"a", b"c"]
