"""Items without events, ranked among these alone."""

from __future__ import annotations

import numpy as np
import pytest

from components.next_span_evaluator import shelf
from components.next_span_evaluator.shelf import shelf_of
from components.next_span_evaluator.slices import counts_before
from components.surroundings import Surroundings
from tests.trainer.features.small_catalogue import table
from trainer.checks.small_data import sequences
from trainer.keras2 import tf
from trainer.metrics import UNAVAILABLE
from trainer.vocabulary import Vocabulary

SCORES = {b"old": 9.0, b"a": 5.0, b"b": 4.0, b"c": 3.0, b"late": UNAVAILABLE}


def rank(user_id: tf.Tensor, history: tf.Tensor, candidates: tf.Tensor) -> dict[str, tf.Tensor]:
    """A bundle that scores items the same for everybody."""
    assert user_id.dtype == history.dtype == tf.string
    scores = [[SCORES[name] for name in row] for row in candidates.numpy().tolist()]
    return {"scores": tf.constant(scores, tf.float32)}


def measured(k: int, met: list[str]) -> dict[str, float]:
    items = Vocabulary.empty(1).grow(["old"], 1, 1, 7.0).admit(["a", "b", "c", "gone", "late"], 2)
    items = items.grow(met, 2, 1, 7.0)
    listed = {name: {"withdrawn": name == "gone"} for name in ("old", "a", "b", "c", "gone", "late")}
    rows = items.lookup(met)
    of_day = sequences([(1, [int(row)], 0) for row in rows])
    keys = Vocabulary.empty(1).grow(["u"], 2, 1, 7.0)
    parts = (of_day.positions(today_only=True),)
    return shelf_of(rank, parts, table(listed), items, keys, counts_before(items, rows), 4, k)


def test_it_ranks_new_items_among_their_like():
    # Of a, b and c, which the model can recommend, a and b are the best two; `old` is none of them.
    assert measured(2, ["a", "b", "c", "old", "late"]) == {
        "recall": pytest.approx(2 / 3), "events": 3.0, "size": 3.0, "chance": pytest.approx(2 / 3),
    }  # fmt: skip
    assert measured(5, ["c"])["chance"] == 1.0


def test_ties_count_against_the_item(monkeypatch):
    monkeypatch.setitem(SCORES, b"a", 4.0)
    assert measured(1, ["a"])["recall"] == 0.0
    assert measured(2, ["a"])["recall"] == 1.0


def test_a_day_without_such_events_says_how_long_the_shelf_is():
    figures = measured(2, ["old"])
    assert "recall" not in figures
    assert (figures["events"], figures["size"]) == (0.0, 4.0)
    assert Surroundings(shelf=figures).shelf_sentence == ("shelf of 4 items without events: no event, by chance 0.5000")
    assert Surroundings().shelf_sentence == ""


def test_of_many_events_a_sample_is_asked_for_and_many_items_are_asked_in_pieces(monkeypatch):
    whole = measured(2, ["a", "b", "c"] * 8)
    monkeypatch.setattr(shelf, "_ITEMS", 2)
    assert measured(2, ["a", "b", "c"] * 8) == whole
    monkeypatch.setattr(shelf, "POSITIONS", 6)
    assert 0 < measured(2, ["a", "b", "c"] * 8)["events"] <= 6
    assert np.isfinite(whole["recall"])
