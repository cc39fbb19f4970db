"""Which events of a new day were of new, cold and warm items and keys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from components.next_span_evaluator.slices import by_slice, counts_before, events_before, trained_before
from trainer.checks.small_data import sequences
from trainer.vocabulary import Vocabulary

COLD_BELOW = 3


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=40),
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 12)), min_size=1, max_size=40),
)
def test_slices_follow_from_what_was_trained_on_before_the_day(tmp_path_factory, yesterday, today):
    folder: Path = tmp_path_factory.mktemp("vocabulary")
    before, rows = {}, {}
    for name, column in (("keys", 0), ("items", 1)):
        empty = Vocabulary.empty(1)
        before[name] = empty.grow([b"%d" % event[column] for event in yesterday], 1, min_count=1, half_life=7.0)
        ids = [b"%d" % event[column] for event in today]
        grown = before[name].grow(ids, 2, min_count=1, half_life=7.0)
        grown.save(folder, name)
        rows[name] = grown.lookup(ids).tolist()
    learned = sequences([(key, [item], 0) for key, item in zip(rows["keys"], rows["items"], strict=True)])
    trained = trained_before(learned, learned.positions(today_only=True), str(folder), COLD_BELOW)
    for name, column in (("keys", 0), ("items", 1)):
        counts = before[name].trained_counts([b"%d" % event[column] for event in today])
        wanted = [b"new" if n == 0 else b"cold" if n < COLD_BELOW else b"warm" for n in counts]
        assert trained[f"{name[:-1]}_slice"].tolist() == wanted


def test_an_id_without_a_row_counts_as_new(tmp_path):
    for name in ("items", "keys"):
        Vocabulary.empty(1).grow([b"seldom"], 1, min_count=2, half_life=7.0).save(tmp_path, name)
    learned = sequences([(1, [1], 0)])
    trained = trained_before(learned, learned.positions(), str(tmp_path), COLD_BELOW)
    assert {name: labels.tolist() for name, labels in trained.items()} == {
        "item_slice": [b"new"],
        "key_slice": [b"new"],
    }


def test_items_are_told_by_how_many_events_they_had_before():
    items = Vocabulary.empty(1).grow([b"a"] * 100 + [b"b"] * 19 + [b"c"] * 4, 1, 1, 7.0)
    items = items.grow([b"a", b"c", b"d"], 2, 1, 7.0)
    counts = counts_before(items, items.lookup([b"a", b"c", b"d"]))
    assert counts.tolist() == [0, 0, 100, 19, 4, 0]
    rows = np.array([1, 2, 3, 4, 5])
    assert events_before(counts, rows).tolist() == [b"0", b"100+", b"5-19", b"1-4", b"0"]
    names = by_slice({"item_events": events_before(counts, rows)}, lambda here: {"events": float(len(here))})
    assert list(names) == ["item_events:0", "item_events:1-4", "item_events:5-19", "item_events:100+"]


def test_every_position_falls_into_one_slice_of_each_kind():
    labels = {"item_slice": np.array([b"new", b"warm", b"new"], object), "key_slice": np.array([b"cold"] * 3, object)}
    counted = by_slice(labels, lambda here: {"events": float(len(here)), "first": float(here[0])})
    assert counted == {
        "item_slice:new": {"events": 2, "first": 0},
        "item_slice:warm": {"events": 1, "first": 1},
        "key_slice:cold": {"events": 3, "first": 0},
    }
